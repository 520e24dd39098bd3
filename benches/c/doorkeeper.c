// The caller's side: makes what a sandbox should keep away from its command (a descriptor, a variable, a key, a lock,
// sockets, a terminal), starts a runner in the midst of it, and tells what only the outside sees.
//   doorkeeper main|tty|stay|network|limits|image UID DIR RUNNER...
// DIR holds `work/` with the program, `outside/`, `canary/` and `secret`. It prints the lines of the inside and its own.
#include "doors.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>

static struct caller me;

static void die(const char *what) {
    fprintf(stderr, "doorkeeper: %s: %s\n", what, strerror(errno));
    exit(98);
}

static const char *in_dir(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", me.dir, name);
    return path;
}

// What only root can make: a descriptor of a closed file, a group, another user.
static void become(unsigned uid) {
    int secret = open(in_dir("secret"), O_RDONLY);
    if (secret < 0 || dup2(secret, LEAKED) < 0) die("secret");
    close(secret);
    if (getuid() != 0) return;
    gid_t groups[] = {GROUP};
    if (setgroups(1, groups) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) die("ids");
    prctl(PR_SET_DUMPABLE, 1);
}

static void listen_at(int fd, const void *address, socklen_t size) {
    if (fd < 0 || bind(fd, address, size) || listen(fd, 8)) die("listen");
}

static void surround(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "sbx-door-%d", me.pid);
    listen_at(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), &name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length));
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof port;
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    listen_at(tcp, &port, size);
    getsockname(tcp, (struct sockaddr *)&port, &size);
    me.port = ntohs(port.sin_port);
    me.key = -1;
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0)
        me.key = (int)syscall(SYS_add_key, "user", "sbx-door", SECRET, strlen(SECRET), KEY_SPEC_SESSION_KEYRING);
    if (flock(open(in_dir("work/doors"), O_RDONLY | O_CLOEXEC), LOCK_EX)) die("lock");
    me.segment = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0644);
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/sbx-door-%d", me.pid);
    int shm = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (shm < 0 || write(shm, "x", 1) != 1) die("/dev/shm");
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    gethostname(me.host, sizeof me.host);
    FILE *told = fopen(in_dir("work/caller"), "w");
    if (!told || fprintf(told, "%s %d %d %d %d %s\n", me.dir, me.pid, me.key, me.port, me.segment, me.host) < 0 || fclose(told)) die("work/caller");
    setenv("SBX_DOOR", SECRET, 1);
}

static void leave(void) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/sbx-door-%d", me.pid);
    unlink(path);
    if (me.segment >= 0) shmctl(me.segment, IPC_RMID, NULL);
}

// Starts the runner: `in` and `out` become its streams. With `line` it leads a session there.
static pid_t start(char **argv, int in, int out, int line) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child) return child;
    if (line >= 0 && (setsid() < 0 || ioctl(line, TIOCSCTTY, 0))) die("terminal");
    dup2(in, 0), dup2(out, 1);
    if (line >= 0) dup2(line, 2);
    execvp(argv[0], argv);
    die(argv[0]);
    return -1;
}

// Passes on what is written to `from` until its end, for `patience` ms at most; returns whether the end came.
static int pass_on(int from, int patience, const char *until) {
    static char seen[65536];
    size_t length = 0;
    for (struct pollfd entry = {.fd = from, .events = POLLIN}; poll(&entry, 1, patience) == 1;) {
        char piece[4096];
        ssize_t got = read(from, piece, sizeof piece);
        if (got <= 0) return 1;
        for (ssize_t i = 0; i < got; i++)
            if (piece[i] != '\r') putchar(piece[i]);
        fflush(stdout);
        if (length + (size_t)got < sizeof seen) memcpy(seen + length, piece, (size_t)got), length += (size_t)got;
        if (until && memmem(seen, length, until, strlen(until))) return 0;
    }
    return 0;
}

static int reap(pid_t runner) {
    int status = 0;
    for (int waited = 0; waitpid(runner, &status, WNOHANG) == 0; waited++) {
        if (waited == 6000) kill(runner, SIGKILL);
        usleep(10000);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Finds the command as the host sees it, whatever lies between: it runs the program of `work/`. A user sees only
// its own, and not all of those.
static int find(char *pid, size_t size) {
    struct stat program, its;
    DIR *all = opendir("/proc");
    int found = 0;
    if (stat(in_dir("work/doors"), &program)) die("work/doors");
    for (struct dirent *it; !found && all && (it = readdir(all));) {
        char path[300];
        snprintf(path, sizeof path, "/proc/%s/exe", it->d_name);
        found = stat(path, &its) == 0 && its.st_ino == program.st_ino && its.st_dev == program.st_dev;
        if (found) snprintf(pid, size, "%s", it->d_name);
    }
    if (all) closedir(all);
    return found;
}

static void look_at_user(void) {
    char pid[256], path[300], line[256];
    if (getuid() != 0) return (void)say("outer-root", CLOSED, "the caller is not root");
    if (!find(pid, sizeof pid)) return (void)say("outer-root", NOT_APPLICABLE, "it was not found");
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *status = fopen(path, "r");
    unsigned uid = 0;
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "Uid: %u", &uid) == 1) break;
    say("outer-root", uid ? CLOSED : OPEN, "user %u", uid);
}

static int on_pipe(char **argv, const char *run) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) die("pipe");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t runner = start(argv, null, ends[1], -1);
    close(ends[1]);
    if (strcmp(run, "stay") != 0) {
        pass_on(ends[0], 60000, NULL);
        return reap(runner);
    }
    if (pass_on(ends[0], 30000, "ready open")) return reap(runner);
    look_at_user();
    kill(runner, SIGKILL);
    reap(runner);
    // Who still lives holds the other end, unless the runner stood between.
    char pid[256];
    if (pass_on(ends[0], 6000, NULL) && (usleep(500000), !find(pid, sizeof pid))) say("outlives", CLOSED, "it ended at once");
    else say("outlives", OPEN, "it lives on");
    // Or the next look would find it.
    for (int tries = 0; tries < 50 && find(pid, sizeof pid); tries++) kill(atoi(pid), SIGKILL), usleep(20000);
    return 0;
}

static int on_terminal(char **argv) {
    int keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (keyboard < 0 || grantpt(keyboard) || unlockpt(keyboard)) die("pty");
    int line = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    // A description of its own for the runner: O_NONBLOCK belongs to the description.
    int streams = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios settings;
    if (line < 0 || streams < 0 || tcgetattr(line, &settings)) die("pty");
    // What is pushed can be read at once, and is not echoed.
    settings.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(line, TCSANOW, &settings);
    pid_t runner = start(argv, streams, streams, streams);
    close(streams);
    pass_on(keyboard, 20000, "tioclinux ");
    pass_on(keyboard, 300, NULL);
    char pushed[16] = "";
    ssize_t got = read(line, pushed, sizeof pushed - 1);
    pushed[got > 0 ? got : 0] = 0;
    say("tiocsti", strchr(pushed, 'A') ? OPEN : CLOSED, "found in the terminal: `%s`", pushed);
    say("tiocsti-upper", strchr(pushed, 'B') ? OPEN : CLOSED, "found in the terminal: `%s`", pushed);
    return reap(runner);
}

static int is_empty(const char *directory) {
    DIR *entries = opendir(directory);
    int count = 0;
    while (entries && readdir(entries)) count++;
    return count == 2;
}

int main(int argc, char **argv) {
    if (argc < 5) return 97;
    const char *run = argv[1];
    snprintf(me.dir, sizeof me.dir, "%s", argv[3]);
    me.pid = getpid();
    prctl(PR_SET_NAME, "doorkeeper");
    // What somebody left open in this caller is not of the runners.
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)) die("close_range");
    become((unsigned)atoi(argv[2]));
    surround();
    int code = strcmp(run, "tty") == 0 ? on_terminal(argv + 4) : on_pipe(argv + 4, run);
    leave();
    struct stat found;
    if (strcmp(run, "main") == 0 && stat(in_dir("work/set-id"), &found) == 0 && found.st_mode & S_ISUID)
        say("set-id", OPEN, "seen from outside");
    if (strcmp(run, "main") == 0) {
        int written = unlink(in_dir("outside/written")) == 0, installed = unlink("/usr/lib/sbx-door") == 0;
        say("host-write", written || installed ? OPEN : CLOSED, "%s", written || installed ? "it is there" : "nothing is there");
    }
    if (strcmp(run, "image") == 0)
        say("destination", is_empty(in_dir("canary")) ? CLOSED : OPEN, "the runner ended with %d", code);
    return code;
}
