/* Preloaded into a process, this makes the file system one that cannot lock files, or cannot share them as memory, as
 * some of those over a network are. The numbers of the errors are in BROKEN_LOCKS and BROKEN_MAPS; without them all is
 * well. BROKEN_AFTER is a file: things break only once it is there. SQLite, which tries a lock again for ten seconds, is
 * then not let sleep between.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int broken(const char *what)
{
    const char *number = getenv(what), *after = getenv("BROKEN_AFTER");
    if (!number || (after && access(after, F_OK)))
        return 0;
    errno = atoi(number);
    return 1;
}

#define FCNTL(name) \
    int name(int descriptor, int command, ...) \
    { \
        int (*real)(int, int, ...) = dlsym(RTLD_NEXT, #name); \
        va_list more; \
        va_start(more, command); \
        void *argument = va_arg(more, void *); \
        va_end(more); \
        if ((command == F_SETLK || command == F_SETLKW) && broken("BROKEN_LOCKS")) \
            return -1; \
        return real(descriptor, command, argument); \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

#define MMAP(name, type) \
    void *name(void *address, size_t length, int protection, int flags, int descriptor, type offset) \
    { \
        void *(*real)(void *, size_t, int, int, int, type) = dlsym(RTLD_NEXT, #name); \
        if (descriptor >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && broken("BROKEN_MAPS")) \
            return MAP_FAILED; \
        return real(address, length, protection, flags, descriptor, offset); \
    }

MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

int usleep(useconds_t microseconds)
{
    int (*real)(useconds_t) = dlsym(RTLD_NEXT, "usleep");
    return broken("BROKEN_LOCKS") ? 0 : real(microseconds);
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    int (*real)(const struct timespec *, struct timespec *) = dlsym(RTLD_NEXT, "nanosleep");
    return broken("BROKEN_LOCKS") ? 0 : real(wanted, left);
}
