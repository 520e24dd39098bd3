/* What a hostile command does that a shell cannot. The first argument says which attack:
   exchange A B      swaps two names until SIGTERM, then prints how often
   reopen PATH       holds PATH by O_PATH and tries to open it for writing
   ptrace PID        attaches and seizes, and reads and writes the memory
   put, look         leaves words in what System V and POSIX share, or looks for them
   hold DIR CMD...   opens DIR at high and low descriptors, then becomes CMD */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void stop(int signal)
{
    (void)signal;
    over = 1;
}

static int exchange(const char *one, const char *other)
{
    long done = 0;
    signal(SIGTERM, stop);
    puts("ready");
    while (!over)
        done += renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0;
    printf("%ld\n", done);
    return 0;
}

static int reopen(const char *path)
{
    char held[64];
    int place = open(path, O_PATH);
    if (place < 0) {
        printf("held: %s\n", strerror(errno));
        place = open(path, O_PATH | O_NOFOLLOW);
    }
    for (int i = 0; i < 200; i++) {
        sprintf(held, "/proc/self/fd/%d", place);
        if (open(path, O_WRONLY) >= 0 || open(held, O_WRONLY) >= 0 || open(held, O_RDWR) >= 0)
            return puts("open to write"), 1;
    }
    puts("closed");
    return 0;
}

static void say(const char *what, long answer)
{
    printf("%s %s\n", what, answer == -1 ? "refused" : "DONE");
}

static int trace(pid_t pid)
{
    char byte = 0, path[64];
    struct iovec own = {&byte, 1}, theirs = {(void *)0x400000, 1};
    sprintf(path, "/proc/%d/mem", pid);
    say("seize", ptrace(PTRACE_SEIZE, pid, 0, 0));
    say("attach", ptrace(PTRACE_ATTACH, pid, 0, 0));
    say("readv", process_vm_readv(pid, &own, 1, &theirs, 1, 0));
    say("writev", process_vm_writev(pid, &own, 1, &theirs, 1, 0));
    say("memory", open(path, O_RDWR));
    say("limits", prlimit(pid, RLIMIT_CORE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}, 0));
    return 0;
}

static int put(void)
{
    int file = open("/dev/shm/word", O_CREAT | O_RDWR, 0666);
    int memory = shmget(7777, 4096, IPC_CREAT | 0666);
    char *text = memory < 0 ? (char *)-1 : shmat(memory, 0, 0);
    if (text != (char *)-1)
        strcpy(text, "word");
    printf("%d%d%d%d%d\n", file >= 0, text != (char *)-1, msgget(7777, IPC_CREAT | 0666) >= 0,
           semget(7777, 1, IPC_CREAT | 0666) >= 0, mq_open("/word", O_CREAT | O_RDWR, 0666, 0) >= 0);
    fflush(stdout);
    sleep(60);
    return 0;
}

static int look(void)
{
    printf("%d%d%d%d%d\n", open("/dev/shm/word", O_RDONLY) >= 0, shmget(7777, 0, 0) >= 0, msgget(7777, 0) >= 0,
           semget(7777, 0, 0) >= 0, mq_open("/word", O_RDONLY) >= 0);
    return 0;
}

static int hold(char **words)
{
    static const int places[] = {3, 77, 255, 1022, 1023, 2048, 65000};
    struct rlimit most = {70000, 70000};
    int place = open(words[0], O_RDONLY | O_DIRECTORY);
    if (setrlimit(RLIMIT_NOFILE, &most))
        getrlimit(RLIMIT_NOFILE, &most), most.rlim_cur = most.rlim_max, setrlimit(RLIMIT_NOFILE, &most);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
        if ((rlim_t)places[i] < most.rlim_cur && place != places[i] && dup2(place, places[i]) < 0)
            fprintf(stderr, "hold: %d: %s\n", places[i], strerror(errno));
    execv(words[1], words + 1);
    perror(words[1]);
    return 127;
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 4 && !strcmp(words[1], "exchange"))
        return exchange(words[2], words[3]);
    if (count == 3 && !strcmp(words[1], "reopen"))
        return reopen(words[2]);
    if (count == 3 && !strcmp(words[1], "ptrace"))
        return trace(atoi(words[2]));
    if (count == 2 && !strcmp(words[1], "put"))
        return put();
    if (count == 2 && !strcmp(words[1], "look"))
        return look();
    if (count > 3 && !strcmp(words[1], "hold"))
        return hold(words + 2);
    fprintf(stderr, "attack: which one?\n");
    return 2;
}
