/* Makes refused calls in ways that are hard on whoever answers them, and says what it was answered.
   mount N          one thread, N times
   threads T N      T threads, N times each, while a timer interrupts them all
   flood T          T threads, for ever
   listen           asks to be the supervisor of its own calls
   outer ARGV       is the supervisor of what it executes, and lets it do all */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static long count;
static long other;

static void *mounts(void *arg)
{
    (void)arg;
    for (long i = 0; count < 0 || i < count; i++)
        if (syscall(SYS_mount, 0, 0, 0, 0, 0) != -1 || errno != EPERM)
            __atomic_add_fetch(&other, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void tick(int signal)
{
    (void)signal;
}

static int listen_to_calls(void)
{
    struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog program = {1, &allow};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IONBF, 0);
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "outer")) {
        int fd = listen_to_calls();
        if (fd < 0 || fcntl(fd, F_SETFD, 0) < 0) {
            perror("refused: cannot be a supervisor");
            return 3;
        }
        execvp(argv[2], argv + 2);
        return 4;
    }
    if (!strcmp(what, "listen")) {
        int fd = listen_to_calls();
        printf("%d\n", fd < 0 ? errno : 0);
        return 0;
    }
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    count = !strcmp(what, "flood") ? -1 : atol(argv[argc - 1]);
    if (!strcmp(what, "mount"))
        threads = 0;
    if (!strcmp(what, "threads")) {
        struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
        struct itimerval often = {{0, 200}, {0, 200}};
        sigaction(SIGALRM, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
    }
    pthread_t all[64];
    for (int i = 0; i < threads; i++)
        pthread_create(&all[i], 0, mounts, 0);
    if (!threads)
        mounts(0);
    for (int i = 0; i < threads; i++)
        pthread_join(all[i], 0);
    printf("other answers: %ld\n", other);
    return 0;
}
