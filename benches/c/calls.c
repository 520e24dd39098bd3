/* What one system call costs: the best of many batches, in nanoseconds a call. The arguments
   of getppid are judged by nobody, those of fchmod by a filter that forbids set-id bits, and
   mount is refused. */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 60, CALLS = 20000 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static double best(long number, long first, long second)
{
    double least = 1e18;
    for (int batch = 0; batch < BATCHES; batch++) {
        double began = now();
        for (int call = 0; call < CALLS; call++)
            syscall(number, first, second, 0L, 0L, 0L);
        double took = (now() - began) / CALLS;
        if (took < least)
            least = took;
    }
    return least;
}

int main(void)
{
    printf("%.0f %.0f %.0f\n", best(SYS_getppid, 0, 0), best(SYS_fchmod, -1, 0644), best(SYS_mount, 0, 0));
    return 0;
}
