// How far a simulation is, for the process that has started this program.
//
// A thread looks at the network's time ten times a second and writes a line into the file that the
// environment variable FARMHAND_REPORT names: which run this is, seconds since it began, the fraction that is
// done, its start and its duration. The simulation itself is not touched and does not wait: Brian's own
// reporting asks for the time in each step of each object. Without the variable, or whenever anything
// fails, nothing is said.
#ifndef FARMHAND_PROGRESS_H
#define FARMHAND_PROGRESS_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

namespace farmhand {

class Watch
{
    const int run;
    const volatile double* const t; // written by the simulation, read here
    const double start, duration;
    int file;
    bool watching, over;
    struct timespec begun;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;

    Watch(const Watch&);
    Watch& operator=(const Watch&);

    void say(double complete)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        const double elapsed = (now.tv_sec - begun.tv_sec) + 1e-9 * (now.tv_nsec - begun.tv_nsec);
        char line[160];
        const int length = snprintf(line, sizeof(line), "%d %.17g %.17g %.17g %.17g\n", run, elapsed, complete, start, duration);
        if (write(file, line, length) != length) {
            // a full disk, say: then nothing is seen of it
        }
    }

    void watch()
    {
        pthread_mutex_lock(&mutex);
        while (!over)
        {
            struct timespec next;
            clock_gettime(CLOCK_REALTIME, &next);
            next.tv_nsec += 100000000;
            if (next.tv_nsec >= 1000000000)
            {
                next.tv_nsec -= 1000000000;
                next.tv_sec += 1;
            }
            pthread_cond_timedwait(&changed, &mutex, &next);
            if (!over && *t > start && duration > 0)
                say((*t - start) / duration);
        }
        pthread_mutex_unlock(&mutex);
    }

    static void* begin(void* self)
    {
        static_cast<Watch*>(self)->watch();
        return NULL;
    }

    void stop()
    {
        if (!watching)
            return;
        pthread_mutex_lock(&mutex);
        over = true;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&mutex);
        pthread_join(thread, NULL);
        watching = false;
    }

public:
    Watch(int run, const double* t, double duration)
        : run(run), t(t), start(*t), duration(duration), file(-1), watching(false), over(false)
    {
        const char* path = getenv("FARMHAND_REPORT");
        if (path && *path)
            file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (file < 0)
            return;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        say(0.0);
        pthread_mutex_init(&mutex, NULL);
        pthread_cond_init(&changed, NULL);
        sigset_t all, before; // signals are the simulation's
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        watching = pthread_create(&thread, NULL, &Watch::begin, this) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }

    void end(double complete)
    {
        stop();
        if (file >= 0)
            say(complete);
    }

    ~Watch()
    {
        stop();
        if (file >= 0)
            close(file);
    }
};

}

#endif
