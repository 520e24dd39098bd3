// The side in the sandbox: tries each door and prints `NAME open|closed|n/a DETAIL`. `doors list` prints what there
// is, `doors main` tries all that a plain run can, `tty`, `stay`, `network` and `limits` the runs that
// need a terminal, a runner that is killed, and one that was asked for the host's network or for limits.
#include "doors.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <linux/keyctl.h>

static struct caller caller;
static char work[256];

static ssize_t slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got;
}

static int alone(const char *name) {
    if (getpid() != 1) return 0;
    say(name, NOT_APPLICABLE, "process 1 is the command itself");
    return 1;
}

static void host_file(const char *n) {
    static const char *const ways[] = {"%s/outside/readable", "/../../..%s/outside/readable", "/proc/1/root%s/outside/readable"};
    char path[400], text[64];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, ways[i], caller.dir);
        if (slurp(path, text, sizeof text) > 0) return (void)say(n, OPEN, "read by %s", ways[i]);
    }
    say(n, CLOSED, "%s", strerrorname_np(errno));
}
static void host_write(const char *n) {
    // What the outside finds afterwards is an open door; the root of a sandbox may well be its own and writable.
    static const char *const places[] = {"%s/outside/written", "/usr/lib/sbx-door"};
    char path[400];
    (void)n;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, places[i], caller.dir);
        int made = open(path, O_WRONLY | O_CREAT, 0600);
        if (made >= 0) close(made);
    }
}
static void leaked(const char *n) {
    char text[64];
    tried(n, pread(LEAKED, text, sizeof text, 0));
}
static void descriptors(const char *n) {
    for (int fd = 3; fd < 1024; fd++)
        if (fd != LEAKED && fcntl(fd, F_GETFD) >= 0) return (void)say(n, OPEN, "descriptor %d", fd);
    say(n, CLOSED, "0, 1 and 2 only");
}
static int has_secret(const char *path) {
    char text[8192];
    ssize_t got = slurp(path, text, sizeof text);
    return got < 0 ? -1 : memmem(text, (size_t)got, SECRET, strlen(SECRET)) != NULL;
}
static void environment(const char *n) {
    if (getenv("SBX_DOOR")) say(n, OPEN, "it is in the environment");
    else say(n, CLOSED, "not there");
}
static void init_environ(const char *n) {
    if (alone(n)) return;
    int found = has_secret("/proc/1/environ");
    say(n, found > 0 ? OPEN : CLOSED, found > 0 ? "read" : found < 0 ? strerrorname_np(errno) : "not there");
}
static void init_mem(const char *n) { if (!alone(n)) tried(n, open("/proc/1/mem", O_RDWR)); }
static void init_trace(const char *n) {
    // SEIZE, not ATTACH: who is attached to and then left would stay stopped. It ends with this process.
    if (!alone(n)) tried(n, ptrace(PTRACE_SEIZE, 1, 0, 0));
}
static void init_exe(const char *n) {
    if (alone(n)) return;
    // A program that runs is busy: the kernel says so to those only who may write it (CVE-2019-5736).
    int fd = open("/proc/1/exe", O_WRONLY);
    if (fd < 0 && errno == ETXTBSY) say(n, OPEN, "busy, which only those hear who may write it");
    else tried(n, fd);
}
static void host_processes(const char *n) {
    DIR *all = opendir("/proc");
    for (struct dirent *it; all && (it = readdir(all));) {
        char path[300], text[64];
        snprintf(path, sizeof path, "/proc/%s/comm", it->d_name);
        if (slurp(path, text, sizeof text) > 0 && strcmp(text, "doorkeeper\n") == 0)
            return (void)say(n, OPEN, "its number is %s", it->d_name);
    }
    say(n, CLOSED, "not seen");
}
// The first bits of a line of /proc/self/status.
static unsigned long status(const char *key) {
    char text[8192];
    if (slurp("/proc/self/status", text, sizeof text) < 0) return ~0UL;
    char *at = strstr(text, key);
    return at ? strtoul(at + strlen(key), NULL, 16) : ~0UL;
}
static void capabilities(const char *n) {
    unsigned long all = status("CapInh:") | status("CapPrm:") | status("CapEff:") | status("CapAmb:");
    say(n, all ? OPEN : CLOSED, "%lx", all);
}
static void bounding(const char *n) {
    unsigned long set = status("CapBnd:");
    say(n, set ? OPEN : CLOSED, "%lx", set);
}
static void privileges(const char *n) {
    unsigned long set = status("NoNewPrivs:");
    say(n, set == 1 ? CLOSED : OPEN, "no_new_privs %lu", set);
}
static void group(const char *n) {
    char path[300], text[8];
    struct stat found;
    snprintf(path, sizeof path, "%s/group-file", work);
    if (lstat(path, &found)) return (void)say(n, NOT_APPLICABLE, "only root can give the caller one");
    tried(n, slurp(path, text, sizeof text));
}
static void writes(const char *n, const char *path) { tried(n, open(path, O_WRONLY)); }
static void reads(const char *n, const char *path) {
    char text[4096];
    ssize_t got = slurp(path, text, sizeof text);
    if (got == 0) say(n, CLOSED, "empty");
    else tried(n, got);
}
static void core_pattern(const char *n) { writes(n, "/proc/sys/kernel/core_pattern"); }
static void sysrq(const char *n) { writes(n, "/proc/sysrq-trigger"); }
static void kallsyms(const char *n) { reads(n, "/proc/kallsyms"); }
static void keys(const char *n) { reads(n, "/proc/keys"); }
static void interrupts(const char *n) { reads(n, "/proc/interrupts"); }
static void cgroupfs(const char *n) {
    char line[1024], root[256], type[64], path[300];
    FILE *mounts = fopen("/proc/self/mounts", "r");
    while (mounts && fgets(line, sizeof line, mounts)) {
        if (sscanf(line, "%*s %255s %63s", root, type) != 2 || strncmp(type, "cgroup", 6) != 0) continue;
        snprintf(path, sizeof path, "%s/cgroup.procs", root);
        if (open(path, O_WRONLY) >= 0) return (void)say(n, OPEN, "%s", path);
    }
    say(n, CLOSED, "none is writable");
}
static void oom(const char *n) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    tried(n, fd < 0 ? -1 : write(fd, "-1", 2));
}
static void set_id(const char *n) {
    char path[300];
    snprintf(path, sizeof path, "%s/set-id", work);
    int fd = open(path, O_WRONLY | O_CREAT, 0755);
    tried(n, fd < 0 ? -1 : fchmod(fd, 04755));
    close(fd);
}
static void core_limit(const char *n) {
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    say(n, limit.rlim_cur ? OPEN : CLOSED, "limit %ld", (long)limit.rlim_cur);
}
static void host_port(const char *n) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)caller.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    tried(n, connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&at, sizeof at));
}
static void abstract(const char *n) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int length = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "sbx-door-%d", caller.pid);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    tried(n, connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&at, size));
}
static void dev_shm(const char *n) {
    char path[64], text[16];
    snprintf(path, sizeof path, "/dev/shm/sbx-door-%d", caller.pid);
    tried(n, slurp(path, text, sizeof text));
}
static void sysv(const char *n) {
    void *at = caller.segment < 0 ? (void *)-1 : shmat(caller.segment, NULL, SHM_RDONLY);
    if (caller.segment < 0) say(n, NOT_APPLICABLE, "the caller has none");
    else tried(n, at == (void *)-1 ? -1 : 0);
}
static void lock(const char *n) {
    char path[300];
    snprintf(path, sizeof path, "%s/doors", work);
    if (flock(open(path, O_RDONLY), LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) say(n, OPEN, "the caller's lock is seen");
    else say(n, CLOSED, "%s", strerrorname_np(errno));
}
static void hostname(const char *n) {
    char name[128] = "";
    gethostname(name, sizeof name);
    say(n, strcmp(name, caller.host) ? CLOSED : OPEN, "it is the host's: %s", strcmp(name, caller.host) ? "no" : "yes");
}
static void caller_key(const char *n) {
    char text[32];
    if (caller.key < 0) say(n, NOT_APPLICABLE, "the caller has no keyring");
    else tried(n, syscall(SYS_keyctl, KEYCTL_READ, caller.key, text, sizeof text));
}

static const struct door doors[] = {
    {"Paths", "destination", "a mount point behind a link of a hostile image is made on the host (CVE-2026-87766)", NULL},
    {0, "host-file", "a file of the host that was not asked for is read", host_file},
    {0, "host-write", "a file of the host outside of the work directory is made", host_write},
    {0, "set-id", "a set-id program is left in the work directory", set_id},
    {"Handles", "descriptor", "a descriptor of the caller's is inherited, here of a file that only root may read", leaked},
    {0, "descriptors", "a descriptor of the runner's is inherited", descriptors},
    {0, "environment", "a secret of the caller's environment is in the command's", environment},
    {0, "init-environ", "the same is in `/proc/1/environ`", init_environ},
    {0, "init-memory", "`/proc/1/mem` opens to write", init_mem},
    {0, "init-trace", "process 1 is traced", init_trace},
    {0, "init-program", "the runner's own program opens to write (CVE-2019-5736)", init_exe},
    {0, "processes", "the caller's process is seen", host_processes},
    {0, "outlives", "the command outlives a runner that is killed by SIGKILL", NULL},
    {"Terminal", "tiocsti", "a key is pushed into the caller's terminal (TIOCSTI, CVE-2017-5226)", NULL},
    {0, "tiocsti-upper", "the same with junk in the upper half of the number (CVE-2019-10063)", NULL},
    {0, "tioclinux", "TIOCLINUX reaches a terminal (CVE-2023-28100)", NULL},
    {"Rights", "capability", "a capability in any set of the command's", capabilities},
    {0, "bounding-set", "a capability in the bounding set", bounding},
    {0, "new-privileges", "set-id programs give rights (no `no_new_privs`)", privileges},
    {0, "outer-root", "the command is uid 0 outside", NULL},
    {0, "group", "a file opens by a group of the caller's", group},
    {"`/proc` and cgroups", "core-pattern", "`/proc/sys/kernel/core_pattern` opens to write", core_pattern},
    {0, "sysrq", "`/proc/sysrq-trigger` opens to write", sysrq},
    {0, "kallsyms", "`/proc/kallsyms` is read", kallsyms},
    {0, "keys", "`/proc/keys` is read", keys},
    {0, "interrupts", "`/proc/interrupts` is read", interrupts},
    {0, "cgroup-files", "`cgroup.procs` of a group opens to write", cgroupfs},
    {0, "core", "a core is dumped", core_limit},
    {0, "oom-score", "the command is ended later than its caller when memory is full", oom},
};
static const struct door shared_doors[] = {
    {"Shared with others", "host-port", "a service on 127.0.0.1 of the host is reached", host_port},
    {0, "abstract-socket", "an abstract socket of the host is reached", abstract},
    {0, "abstract-socket-host", "the same with the host's network asked for", NULL},
    {0, "caller-key", "a key of the caller's session is read", caller_key},
    {0, "dev-shm", "`/dev/shm` is that of the host", dev_shm},
    {0, "sysv", "System V memory is that of the host", sysv},
    {0, "lock", "locks on a shared file are seen: two runs can signal by them", lock},
    {0, "hostname", "the host's name is seen", hostname},
    {"Limits, asked for where the runner has them", "fork-bomb", "200 processes where 32 are allowed", NULL},
    {0, "memory", "256 MiB of memory where 64 are allowed", NULL},
};
#define COUNT(all) ((int)(sizeof all / sizeof *all))

static void each(const struct door *all, int count, int list) {
    for (int i = 0; i < count; i++) {
        if (list) printf("%s\t%s\t%s\n", all[i].group ? all[i].group : "", all[i].name, all[i].text);
        else if (all[i].try) all[i].try(all[i].name);
    }
}

static void terminal(void) {
    int upper = syscall(SYS_ioctl, 0, 0xdead00000000UL | TIOCSTI, "B");
    say("pushed-upper", upper ? CLOSED : OPEN, "%s", upper ? strerrorname_np(errno) : "");
    int plain = ioctl(0, TIOCSTI, "A");
    say("pushed", plain ? CLOSED : OPEN, "%s", plain ? strerrorname_np(errno) : "");
    // A pseudo-terminal knows no such command; EPERM and ENOSYS are somebody's filter.
    char code = 6;
    int returned = ioctl(0, TIOCLINUX, &code), filtered = returned && (errno == EPERM || errno == ENOSYS);
    say("tioclinux", filtered ? CLOSED : OPEN, returned ? "%s" : "it worked", strerrorname_np(errno));
}

static void bomb(void) {
    int born = 0;
    pid_t all[200];
    while (born < COUNT(all) && (all[born] = fork()) >= 0) {
        if (all[born] == 0) {
            alarm(10);
            pause();
            _exit(0);
        }
        born++;
    }
    for (int i = 0; i < born; i++) kill(all[i], SIGKILL), waitpid(all[i], NULL, 0);
    say("fork-bomb", born == COUNT(all) ? OPEN : CLOSED, "%d processes", born);
}

static void hog(void) {
    size_t size = 256UL << 20;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) _exit(1);
        for (size_t at = 0; at < size; at += 4096) ((volatile char *)memory)[at] = 1;
        _exit(0);
    }
    int ended = -1;
    if (child > 0) waitpid(child, &ended, 0);
    say("memory", ended == 0 ? OPEN : CLOSED, ended == 0 ? "it got them" : "ended, or refused");
}

int main(int argc, char **argv) {
    const char *run = argc > 1 ? argv[1] : "";
    if (strcmp(run, "list") == 0) {
        each(doors, COUNT(doors), 1), each(kernel_doors, kernel_count, 1), each(shared_doors, COUNT(shared_doors), 1);
        return 0;
    }
    snprintf(work, sizeof work, "%s", argv[0]);
    if (strrchr(work, '/')) *strrchr(work, '/') = 0;
    char path[300];
    snprintf(path, sizeof path, "%s/caller", work);
    FILE *told = fopen(path, "r");
    if (!told || fscanf(told, "%255s %d %d %d %d %127s", caller.dir, &caller.pid, &caller.key, &caller.port, &caller.segment, caller.host) != 6) {
        fprintf(stderr, "doors: %s: it does not say what the caller made\n", path);
        return 99;
    }
    fclose(told);
    if (strcmp(run, "main") == 0) each(doors, COUNT(doors), 0), each(kernel_doors, kernel_count, 0), each(shared_doors, COUNT(shared_doors), 0);
    else if (strcmp(run, "tty") == 0) terminal();
    else if (strcmp(run, "network") == 0) abstract("abstract-socket-host");
    else if (strcmp(run, "limits") == 0) bomb(), hog();
    else if (strcmp(run, "stay") == 0) {
        say("ready", OPEN, "");
        // No signal: as process 1 it would not obey one.
        sleep(20);
    } else if (strcmp(run, "image") != 0) return 99;
    return 0;
}
