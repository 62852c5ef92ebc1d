/* Preloaded into a process, this writes down what the process does to the files in one folder: what it opens, writes,
 * cuts off, syncs, links, renames and unlinks, and the folders that it makes in it, in the order in which it does so.
 * model.py reads the trace.
 *
 * POWER_FOLDER is the folder, an absolute path; POWER_TRACE is the file that gets the trace. Only one thread at a time
 * may do any of this. Each record is a kind, a descriptor, a number (an offset, a length or flags) and some bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS 1024
#define TRUNCATED 1
#define APPEND 2
#define NAMELESS 4
#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

struct record {
    uint32_t kind, descriptor;
    int64_t number;
    uint64_t length;
};

static char traced[DESCRIPTORS]; /* whether a descriptor is of a file in the folder, or of the folder */

static void put(const void *bytes, size_t length)
{
    static int trace = -1;
    ssize_t (*write_for_real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (trace < 0) {
        int (*open_for_real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        trace = open_for_real(getenv("POWER_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (write_for_real(trace, bytes, length) != (ssize_t)length) {
        fprintf(stderr, "the trace cannot be written\n");
        abort();
    }
}

static void note(int kind, int descriptor, int64_t number, const void *bytes, size_t length)
{
    int before = errno;
    struct record record = {kind, descriptor, number, length};
    put(&record, sizeof record);
    if (length)
        put(bytes, length);
    errno = before;
}

static int is_in_folder(const char *path)
{
    const char *folder = getenv("POWER_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int is_traced(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS && traced[descriptor];
}

/* The traced descriptor that a path in /proc means; -1 for any other path. */
static int meant_by(const char *path)
{
    int descriptor;
    return sscanf(path, "/proc/self/fd/%d", &descriptor) == 1 && is_traced(descriptor) ? descriptor : -1;
}

static int opened(int descriptor, const char *path, int flags)
{
    int same = meant_by(path);
    if (descriptor >= 0 && (same >= 0 || is_in_folder(path))) {
        if (descriptor >= DESCRIPTORS)
            abort();
        traced[descriptor] = 1;
        int number = (flags & O_TRUNC ? TRUNCATED : 0) | (flags & O_APPEND ? APPEND : 0);
        number |= (flags & O_TMPFILE) == O_TMPFILE ? NAMELESS : 0;
        note(same >= 0 ? 'd' : 'o', descriptor, same >= 0 ? same : number, path, strlen(path));
    }
    return descriptor;
}

#define MODE(last) \
    va_list more; \
    va_start(more, last); \
    mode_t mode = va_arg(more, mode_t); \
    va_end(more)

int open(const char *path, int flags, ...)
{
    REAL(open);
    MODE(flags);
    return opened(real(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    MODE(flags);
    return opened(real(path, flags, mode), path, flags);
}

int openat(int folder, const char *path, int flags, ...)
{
    REAL(openat);
    MODE(flags);
    return opened(real(folder, path, flags, mode), path, flags);
}

int openat64(int folder, const char *path, int flags, ...)
{
    REAL(openat64);
    MODE(flags);
    return opened(real(folder, path, flags, mode), path, flags);
}

int close(int descriptor)
{
    REAL(close);
    if (is_traced(descriptor)) {
        note('c', descriptor, 0, 0, 0);
        traced[descriptor] = 0;
    }
    return real(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    REAL(write);
    off_t offset = is_traced(descriptor) ? lseek(descriptor, 0, SEEK_CUR) : 0;
    ssize_t written = real(descriptor, bytes, length);
    if (written > 0 && is_traced(descriptor))
        note('w', descriptor, offset, bytes, written);
    return written;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    REAL(pwrite);
    ssize_t written = real(descriptor, bytes, length, offset);
    if (written > 0 && is_traced(descriptor))
        note('w', descriptor, offset, bytes, written);
    return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset)
{
    REAL(pwrite64);
    ssize_t written = real(descriptor, bytes, length, offset);
    if (written > 0 && is_traced(descriptor))
        note('w', descriptor, offset, bytes, written);
    return written;
}

#define SIMPLE(name, kind, type) \
    int name(int descriptor, type length) \
    { \
        REAL(name); \
        int result = real(descriptor, length); \
        if (!result && is_traced(descriptor)) \
            note(kind, descriptor, length, 0, 0); \
        return result; \
    }

SIMPLE(ftruncate, 't', off_t)
SIMPLE(ftruncate64, 't', off64_t)

#define SYNC(name) \
    int name(int descriptor) \
    { \
        REAL(name); \
        int result = real(descriptor); \
        if (!result && is_traced(descriptor)) \
            note('s', descriptor, 0, 0, 0); \
        return result; \
    }

SYNC(fsync)
SYNC(fdatasync)

int linkat(int from, const char *path, int folder, const char *name, int flags)
{
    REAL(linkat);
    int result = real(from, path, folder, name, flags);
    if (!result && is_traced(folder))
        note('l', meant_by(path), 0, name, strlen(name));
    return result;
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    int result = real(from, to);
    if (!result && is_in_folder(from)) {
        note('n', 0, 0, from, strlen(from)); /* the next record has the new name */
        note('r', 0, 0, to, strlen(to));
    }
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    int result = real(path, mode);
    if (!result && is_in_folder(path))
        note('m', 0, 0, path, strlen(path));
    return result;
}

int unlink(const char *path)
{
    REAL(unlink);
    int result = real(path);
    if (!result && is_in_folder(path))
        note('u', 0, 0, path, strlen(path));
    return result;
}
