/* What one system call costs: the best of many batches, in nanoseconds a call. The arguments
   of getppid are judged by nobody, those of fchmod by a filter that forbids set-id bits, and
   mount is refused. Opening and closing a file one directory deep is what Landlock looks at. */
#define _GNU_SOURCE
#include <fcntl.h>
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

static double best_open(const char *path)
{
    double least = 1e18;
    for (int batch = 0; batch < BATCHES; batch++) {
        double began = now();
        for (int call = 0; call < CALLS; call++)
            close(open(path, O_RDONLY));
        double took = (now() - began) / CALLS;
        if (took < least)
            least = took;
    }
    return least;
}

/* The argument is a directory with files to open: `a` in it, and `a` four directories deeper. */
int main(int argc, char **argv)
{
    char shallow[512], deep[512];
    snprintf(shallow, sizeof shallow, "%s/a", argc > 1 ? argv[1] : ".");
    snprintf(deep, sizeof deep, "%s/1/2/3/4/a", argc > 1 ? argv[1] : ".");
    if (access(shallow, R_OK) || access(deep, R_OK)) {
        perror(deep);
        return 1;
    }
    printf("%.0f %.0f %.0f %.0f %.0f\n", best(SYS_getppid, 0, 0), best(SYS_fchmod, -1, 0644), best(SYS_mount, 0, 0),
           best_open(shallow), best_open(deep));
    return 0;
}
