// The doors to code of the kernel that a command seldom needs, and that holes were reached through. Each is tried
// with the least that has an effect, so that `open` means: this code runs for the command.
#include "doors.h"
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// Runs `body` in a child; its status is 0 for success, else an errno, 255 for a signal.
static int apart(int (*body)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) {
        alarm(5);
        _exit(body());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void judged(const char *name, int error) {
    if (error == 0) say(name, OPEN, "it worked");
    else say(name, CLOSED, "%s", error == 255 ? "killed by a signal" : strerrorname_np(error));
}

static int new_user(void) { return unshare(CLONE_NEWUSER) ? errno : 0; }
static int mount_inside(void) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) && unshare(CLONE_NEWNS)) return errno;
    return mount("tmpfs", "/proc/self/../../dev", "tmpfs", 0, NULL) ? errno : 0;
}
static int release_agent(void) {
    // CVE-2022-0492: a cgroup v1 hierarchy mounted in a new user namespace.
    char line[1024], root[256], type[64];
    FILE *mounts = fopen("/proc/self/mounts", "r");
    while (mounts && fgets(line, sizeof line, mounts)) {
        char path[300];
        if (sscanf(line, "%*s %255s %63s", root, type) != 2 || strcmp(type, "cgroup") != 0) continue;
        snprintf(path, sizeof path, "%s/release_agent", root);
        if (open(path, O_WRONLY) >= 0) return 0;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) && unshare(CLONE_NEWNS)) return errno;
    char place[] = "/tmp/sbx-door-XXXXXX";
    if (!mkdtemp(place)) return errno;
    if (mount("cgroup", place, "cgroup", 0, "pids") && mount("cgroup", place, "cgroup", 0, "memory")) return errno;
    if (chdir(place)) return errno;
    return open("release_agent", O_WRONLY) < 0 ? errno : 0;
}
static int old_call(void) {
#ifdef __x86_64__
    long returned;
    __asm__ volatile("int $0x80" : "=a"(returned) : "a"(20L) : "memory", "cc", "r8", "r9", "r10", "r11");
    return returned == getpid() ? 0 : ENOSYS;
#else
    return ENOSYS;
#endif
}

static void userns(const char *n) { judged(n, apart(new_user)); }
static void mounts(const char *n) { judged(n, apart(mount_inside)); }
static void agent(const char *n) { judged(n, apart(release_agent)); }
static void int80(const char *n) { judged(n, apart(old_call)); }
static void x32(const char *n) {
#ifdef __x86_64__
    tried(n, syscall(0x40000000 | SYS_getpid));
#else
    say(n, NOT_APPLICABLE, "another architecture");
#endif
}
static void io_uring(const char *n) {
    char parameters[120] = {0};
    tried(n, syscall(SYS_io_uring_setup, 1, parameters));
}
static void bpf(const char *n) {
    // Whether it may load a program is the host's setting; EINVAL is already the kernel's parser.
    long returned = syscall(SYS_bpf, 9999, NULL, 0);
    if (returned < 0 && errno == EINVAL) say(n, OPEN, "reached: EINVAL");
    else tried(n, returned);
}
static void perf(const char *n) {
    struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .exclude_kernel = 1};
    tried(n, syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}
static void userfaultfd(const char *n) { tried(n, syscall(SYS_userfaultfd, 1 | O_CLOEXEC)); }
static void add_key(const char *n) { tried(n, syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING)); }
static void family(const char *n, int domain, int type, int protocol) { tried(n, socket(domain, type, protocol)); }
static void alg(const char *n) { family(n, AF_ALG, SOCK_SEQPACKET, 0); }
static void vsock(const char *n) { family(n, AF_VSOCK, SOCK_STREAM, 0); }
static void xfrm(const char *n) { family(n, AF_NETLINK, SOCK_RAW, 6); }
static void audit(const char *n) { family(n, AF_NETLINK, SOCK_RAW, 9); }
static void packet(const char *n) { family(n, AF_PACKET, SOCK_RAW, 0); }
static void handle(const char *n) {
    struct { unsigned bytes; int type; char data[128]; } it = {.bytes = 128};
    int mount_id;
    tried(n, syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &it, &mount_id, 0));
}
static void ldt(const char *n) {
#ifdef __x86_64__
    char entries[64];
    tried(n, syscall(SYS_modify_ldt, 0, entries, sizeof entries));
#else
    say(n, NOT_APPLICABLE, "another architecture");
#endif
}
static int less_random(void) { return personality(ADDR_NO_RANDOMIZE) < 0 ? errno : 0; }
static void persona(const char *n) { judged(n, apart(less_random)); }
static void log_(const char *n) {
    char text[64];
    tried(n, syscall(SYS_syslog, 3, text, sizeof text));
}

const struct door kernel_doors[] = {
    {"Surface of the kernel", "user-namespace", "a user namespace inside, with every capability in it", userns},
    {0, "mount", "mounting a file system, in new namespaces if need be", mounts},
    {0, "release-agent", "`release_agent` of a cgroup hierarchy is writable (CVE-2022-0492)", agent},
    {0, "io-uring", "io_uring", io_uring},
    {0, "bpf", "bpf(2)", bpf},
    {0, "perf", "perf_event_open(2)", perf},
    {0, "userfaultfd", "userfaultfd(2)", userfaultfd},
    {0, "add-key", "adding a key to a keyring", add_key},
    {0, "af-alg", "AF_ALG sockets (CVE-2026-31431)", alg},
    {0, "af-vsock", "AF_VSOCK sockets: to the hypervisor, in no namespace", vsock},
    {0, "af-packet", "AF_PACKET sockets", packet},
    {0, "netlink-xfrm", "NETLINK_XFRM sockets (CVE-2026-43284)", xfrm},
    {0, "netlink-audit", "NETLINK_AUDIT sockets", audit},
    {0, "file-handle", "name_to_handle_at(2)", handle},
    {0, "modify-ldt", "modify_ldt(2)", ldt},
    {0, "personality", "personality(2) makes addresses predictable", persona},
    {0, "int80", "32-bit calls by `int 0x80`", int80},
    {0, "x32", "calls of x32", x32},
    {0, "kernel-log", "reading the kernel's log", log_},
};
const int kernel_count = sizeof kernel_doors / sizeof *kernel_doors;
