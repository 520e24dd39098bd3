/* The floor: the system calls of a sandbox and nothing else, the yardstick for
 * sbx and its peers. It makes new user, mount, pid, net, ipc, uts and cgroup
 * namespaces, a read-only directory as root, its own /proc, /dev and /tmp, `lo`
 * up, no capabilities, no new privileges, no inherited descriptors; it parses
 * nothing, looks nothing up and reports nothing.
 *
 *   floor [OPTION...] ROOT COMMAND [ARG...]
 *     --init            pid 1 starts the command, reaps and passes its status on
 *     --single          one id (the caller's) is mapped, by the child itself
 *     --v1 MEM PIDS CPU ACCT   limits in new groups below these v1 directories
 *     --v2 DIR          limits in a new group below this v2 directory
 *     --trace           prints the time of each step on stderr
 * The remaining options are experiments about what a step costs:
 *     --vm              pid 1 shares the parent's memory instead of a copy
 *     --plain           the command is forked from pid 1, not vforked
 *     --keep-caps       leaves the bounding set alone
 *     --no-net          no network namespace
 *     --fsmount         fsopen and fsmount for proc and tmpfs, not mount(2)
 *     --detached        devices by open_tree and move_mount, not by a bind
 *     --no-private      trusts that a new user namespace makes mounts slaves
 */
#include "nolibc.h"
#include <linux/mount.h>
#include <linux/sched.h>

#define OUTSIDE_ID "0 1878982656 1"
#define MAX_STEPS 64

static int with_init, single_id, share_memory, plain_fork, keep_caps, no_net;
static int use_fsmount, detached_devices, keep_slaves, tracing;
static const char *v1_parent[4], *v2_parent;
static const char *root;
static char **command, **environment;
static char single_map[32];
static int ids_mapped; /* an eventfd: the parent has written the id maps */
static int tasks[4];   /* the `tasks` files of the v1 groups, opened by the parent */
static char stack_of_child[16384] __attribute__((aligned(16)));
static char stack_of_command[4096] __attribute__((aligned(16)));

/* ---- errors and the trace ------------------------------------------------ */

struct trace {
	int count;
	struct {
		const char *name;
		long at;
	} step[MAX_STEPS];
};
static struct trace *trace;

static void step(const char *name)
{
	long now[2];
	if (!tracing)
		return;
	SYS(clock_gettime, 1, now);
	trace->step[trace->count].name = name;
	trace->step[trace->count++].at = now[0] * 1000000000 + now[1];
}

static void print_trace(void)
{
	for (int i = 1; i < trace->count; i++) {
		say(2, trace->step[i].name);
		say(2, "\t");
		say_number(2, trace->step[i].at - trace->step[i - 1].at);
		say(2, "\n");
	}
}

static long must(long result, const char *what)
{
	if (result >= 0)
		return result;
	say(2, "floor: ");
	say(2, what);
	say(2, ": errno ");
	say_number(2, -result);
	say(2, "\n");
	leave(125);
}

/* ---- processes ------------------------------------------------------------ */

/* clone3 on a stack of the child's own (so it may share the memory) that runs
 * `body`. The child's first return is on an empty stack: hence the assembler. */
static long spawn(struct clone_args *args, void (*body)(void))
{
	long ret;
	__asm__ volatile("syscall\n\t"
			 "test %%rax,%%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp,%%ebp\n\t"
			 "call *%[body]\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(__NR_clone3), "D"(args), "S"(sizeof *args), [body] "r"(body)
			 : "rcx", "r11", "memory");
	return ret;
}

static void run_command(void)
{
	step("start of the command's process");
	SYS(execve, command[0], command, environment);
	leave(127);
}

/* Exit code as a shell gives it. */
static int exit_code(int status)
{
	return status & 0x7f ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}

/* pid 1: starts the command, reaps what is handed to it, ends with the command. */
static void be_init(void)
{
	struct clone_args args = {.exit_signal = 17};
	int status = 0;
	long child, ended;

	if (!plain_fork) {
		args.flags = CLONE_VM | CLONE_VFORK;
		args.stack = (ulong_t)stack_of_command;
		args.stack_size = sizeof stack_of_command;
	}
	child = must(spawn(&args, run_command), "clone3 of the command");
	step("clone of the command, to its exec");
	do
		ended = SYS(wait4, -1, &status, 0, 0);
	while (ended != child && ended > 0);
	step("exec, run, exit of the command");
	leave(exit_code(status));
}

/* ---- the child's side ----------------------------------------------------- */

static void write_file(int at, const char *path, const char *text)
{
	int fd = must(SYS(openat, at, path, O_WRONLY | O_CLOEXEC), path);
	must(SYS(write, fd, text, length(text)), path);
	SYS(close, fd);
}

/* Makes one file system and puts it at `path`. */
static void fresh(const char *type, const char *path, ulong_t flags, const char *options,
		  const char *key, const char *value)
{
	if (!use_fsmount) {
		must(SYS(mount, type, path, type, flags, options), path);
		return;
	}
	int fs = must(SYS(fsopen, type, 1), type);
	if (key)
		must(SYS(fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0), key);
	must(SYS(fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0), type);
	int mount = must(SYS(fsmount, fs, 1, flags), type);
	must(SYS(move_mount, mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), path);
	SYS(close, mount);
	SYS(close, fs);
}

static const char *const device[] = {"dev/null",   "dev/zero",    "dev/full",
				     "dev/random", "dev/urandom", "dev/tty"};
static const char *const link[][2] = {{"/proc/self/fd", "/dev/fd"},
				      {"/proc/self/fd/0", "/dev/stdin"},
				      {"/proc/self/fd/1", "/dev/stdout"},
				      {"/proc/self/fd/2", "/dev/stderr"},
				      {"pts/ptmx", "/dev/ptmx"}};

/* After pivot_root(".", ".") the working directory is the host's root and "/"
 * the new one: a relative source and an absolute target need no descriptors. */
static void make_dev(void)
{
	fresh("tmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=755", "mode", "755");
	step("tmpfs on /dev");
	for (size_t i = 0; i < sizeof device / sizeof *device; i++) {
		char target[16] = "/";
		put(target + 1, device[i]);
		must(SYS(mknodat, AT_FDCWD, target, S_IFREG | 0666, 0), target);
		if (detached_devices) {
			int tree = must(SYS(open_tree, AT_FDCWD, device[i],
					    OPEN_TREE_CLONE | O_CLOEXEC), device[i]);
			must(SYS(move_mount, tree, "", AT_FDCWD, target,
				 MOVE_MOUNT_F_EMPTY_PATH), target);
			SYS(close, tree);
		} else {
			must(SYS(mount, device[i], target, 0, MS_BIND, 0), target);
		}
	}
	step("6 devices: mknod and bind");
	must(SYS(mkdirat, AT_FDCWD, "/dev/pts", 0755), "/dev/pts");
	must(SYS(mkdirat, AT_FDCWD, "/dev/shm", 01777), "/dev/shm");
	for (size_t i = 0; i < sizeof link / sizeof *link; i++)
		must(SYS(symlinkat, link[i][0], AT_FDCWD, link[i][1]), link[i][1]);
	step("/dev: 2 directories, 5 links");
	must(SYS(mount, "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		 "newinstance,ptmxmode=0666,mode=620"), "/dev/pts");
	step("devpts");
}

static void make_tree(void)
{
	struct mount_attr attributes = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
		.propagation = MS_PRIVATE};
	int tree = must(SYS(open_tree, AT_FDCWD, root,
			    OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC), root);
	step("open_tree of the root");
	must(SYS(mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
		 sizeof attributes), "mount_setattr");
	step("mount_setattr of the root");
	must(SYS(move_mount, tree, "", AT_FDCWD, root, MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
	step("move_mount of the root");
	must(SYS(fchdir, tree), "fchdir");
	must(SYS(pivot_root, ".", "."), "pivot_root");
	step("fchdir, pivot_root");
	fresh("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0, 0, 0);
	step("proc");
	make_dev();
	fresh("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", "mode", "1777");
	step("tmpfs on /tmp");
	must(SYS(umount2, ".", 2), "detach of the host's tree");
	step("umount2(MNT_DETACH) of the host's tree");
	must(SYS(chdir, "/"), "chdir");
}

static void loopback_up(void)
{
	struct {
		char name[16];
		short flags;
		char rest[22];
	} request = {"lo", 1, {0}}; /* IFF_UP */
	int fd = must(SYS(socket, 2, 2 | O_CLOEXEC, 0), "socket");
	must(SYS(ioctl, fd, 0x8914, &request), "SIOCSIFFLAGS");
	SYS(close, fd);
	step("lo up: socket, ioctl, close");
}

static void drop_privileges(void)
{
	struct {
		uint32_t version;
		int pid;
	} header = {0x20080522, 0};
	uint32_t none[6] = {0};

	must(SYS(prctl, 38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	step("no_new_privs");
	if (!keep_caps)
		for (int cap = 0; cap <= 40; cap++)
			must(SYS(prctl, 24, cap, 0, 0, 0), "PR_CAPBSET_DROP");
	step("41 x PR_CAPBSET_DROP");
	must(SYS(capset, &header, none), "capset");
	step("capset");
}

/* A single-threaded task that writes 0 to `tasks` takes no global lock and waits
 * for no grace period, unlike a pid written by the parent. */
static void join_groups(void)
{
	if (v1_parent[0]) {
		for (int i = 0; i < 4; i++)
			must(SYS(write, tasks[i], "0", 1), "tasks");
		step("4 x write 0 to tasks");
	}
	if (v1_parent[0] || v2_parent) {
		must(SYS(unshare, CLONE_NEWCGROUP), "unshare of the cgroup namespace");
		step("unshare of the cgroup namespace");
	}
}

static void take_ids(void)
{
	long count;

	if (single_id) {
		write_file(AT_FDCWD, "/proc/self/setgroups", "deny");
		write_file(AT_FDCWD, "/proc/self/uid_map", single_map);
		write_file(AT_FDCWD, "/proc/self/gid_map", single_map);
		step("own id maps");
		return;
	}
	must(SYS(read, ids_mapped, &count, sizeof count), "eventfd");
	step("wait for the id maps");
	must(SYS(setgroups, 0, 0), "setgroups");
	must(SYS(setresgid, 0, 0, 0), "setresgid");
	must(SYS(setresuid, 0, 0, 0), "setresuid");
	step("ids");
}

static void child(void)
{
	step("start of pid 1");
	join_groups();
	if (!keep_slaves)
		must(SYS(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0), "private");
	step("private propagation");
	if (!no_net)
		loopback_up();
	must(SYS(sethostname, "floor", 5), "sethostname");
	step("hostname");
	take_ids();
	/* After the ids: a change of them clears it. */
	must(SYS(prctl, 1, 9, 0, 0, 0), "PR_SET_PDEATHSIG");
	make_tree();
	must(SYS(setsid), "setsid");
	step("chdir, setsid");
	drop_privileges();
	SYS(close_range, 3, ~0U, 0);
	step("close_range");
	if (with_init)
		be_init();
	run_command();
}

/* ---- the parent's side ---------------------------------------------------- */

static char group_name[32];
static int group[4]; /* the directories of our groups: v1 MEM PIDS CPU ACCT, or v2 */

static int make_group(const char *parent)
{
	int at = must(SYS(openat, AT_FDCWD, parent, O_PATH | O_DIRECTORY | O_CLOEXEC), parent);
	must(SYS(mkdirat, at, group_name, 0755), parent);
	int fd = must(SYS(openat, at, group_name, O_PATH | O_DIRECTORY | O_CLOEXEC), parent);
	SYS(close, at);
	return fd;
}

static void make_groups(void)
{
	put_number(put(group_name, "floor."), SYS(getpid));
	if (v2_parent) {
		group[0] = make_group(v2_parent);
		write_file(group[0], "memory.max", "67108864");
		write_file(group[0], "memory.swap.max", "0");
		write_file(group[0], "pids.max", "32");
		write_file(group[0], "cpu.max", "100000 100000");
	}
	if (!v1_parent[0])
		return;
	for (int i = 0; i < 4; i++) {
		group[i] = make_group(v1_parent[i]);
		tasks[i] = must(SYS(openat, group[i], "tasks", O_WRONLY | O_CLOEXEC), "tasks");
	}
	write_file(group[0], "memory.limit_in_bytes", "67108864");
	write_file(group[0], "memory.memsw.limit_in_bytes", "67108864");
	write_file(group[1], "pids.max", "32");
	write_file(group[2], "cpu.cfs_quota_us", "100000");
	step("v1 groups: mkdir, limits");
}

static void read_counter(int at, const char *name)
{
	char text[512];
	int fd = must(SYS(openat, at, name, O_RDONLY | O_CLOEXEC), name);
	must(SYS(read, fd, text, sizeof text), name);
	SYS(close, fd);
}

static void remove_group(const char *parent, int fd)
{
	char path[256];
	SYS(close, fd);
	put(put(put(path, parent), "/"), group_name);
	must(SYS(rmdir, path), path);
}

static void end_groups(void)
{
	if (v2_parent) {
		read_counter(group[0], "memory.peak");
		read_counter(group[0], "memory.events");
		read_counter(group[0], "pids.peak");
		read_counter(group[0], "cpu.stat");
		remove_group(v2_parent, group[0]);
	}
	if (!v1_parent[0])
		return;
	read_counter(group[0], "memory.max_usage_in_bytes");
	read_counter(group[0], "memory.oom_control");
	read_counter(group[1], "pids.peak");
	read_counter(group[2], "cpu.stat");
	read_counter(group[3], "cpuacct.usage_user");
	read_counter(group[3], "cpuacct.usage_sys");
	step("v1 groups: counters");
	for (int i = 0; i < 4; i++)
		remove_group(v1_parent[i], group[i]);
	step("v1 groups: rmdir");
}

/* The map of several ids, or of another id than one's own, is the parent's to
 * write. */
static void map_ids(long pid)
{
	char path[40];
	char *end = put(put_number(put(path, "/proc/"), pid), "/");
	put(end, "uid_map");
	write_file(AT_FDCWD, path, OUTSIDE_ID);
	put(end, "gid_map");
	write_file(AT_FDCWD, path, OUTSIDE_ID);
	long one = 1;
	must(SYS(write, ids_mapped, &one, sizeof one), "eventfd");
}

static int run(void)
{
	struct clone_args args = {.exit_signal = 17};
	int pidfd, status = 0;

	step("start");
	if (v1_parent[0] || v2_parent)
		make_groups();
	if (single_id)
		put(put_number(put(single_map, "0 "), SYS(getuid)), " 1");
	else
		ids_mapped = must(SYS(eventfd2, 0, O_CLOEXEC), "eventfd");
	args.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
		     CLONE_PIDFD;
	if (!no_net)
		args.flags |= CLONE_NEWNET;
	/* The root of a cgroup namespace is the group its maker is in. */
	if (!v1_parent[0] && !v2_parent)
		args.flags |= CLONE_NEWCGROUP;
	if (v2_parent) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = group[0];
	}
	if (share_memory) {
		args.flags |= CLONE_VM;
		args.stack = (ulong_t)stack_of_child;
		args.stack_size = sizeof stack_of_child;
	}
	args.pidfd = (ulong_t)&pidfd;
	step("start of floor, groups if any");
	long pid = must(spawn(&args, child), "clone3");
	if (!single_id)
		map_ids(pid);
	must(SYS(wait4, pid, &status, 0, 0), "wait4");
	step("teardown, to the return of wait4");
	if (v1_parent[0] || v2_parent)
		end_groups();
	return exit_code(status);
}

/* ---- the command line ------------------------------------------------------ */

static const struct {
	const char *name;
	int *is;
} flag[] = {{"--init", &with_init},	{"--single", &single_id},
	    {"--vm", &share_memory},	{"--plain", &plain_fork},
	    {"--keep-caps", &keep_caps}, {"--no-net", &no_net},
	    {"--fsmount", &use_fsmount}, {"--detached", &detached_devices},
	    {"--no-private", &keep_slaves}, {"--trace", &tracing}};

static char **read_options(char **arg)
{
	for (; *arg && starts(*arg, "--"); arg++) {
		const char *name = *arg;
		int known = 0;
		for (size_t i = 0; i < sizeof flag / sizeof *flag; i++)
			if (same(name, flag[i].name))
				known = *flag[i].is = 1;
		if (same(name, "--v1"))
			for (int i = known = 0; i < 4 && arg[1]; i++, known = 1)
				v1_parent[i] = *++arg;
		else if (same(name, "--v2") && arg[1])
			v2_parent = *++arg, known = 1;
		must(known ? 0 : -22, name);
	}
	return arg;
}

void start(long *stack)
{
	char **argv = (char **)(stack + 1);

	environment = argv + stack[0] + 1;
	argv = read_options(argv + 1);
	if (!argv[0] || !argv[1]) {
		say(2, "usage: floor [OPTION...] ROOT COMMAND [ARG...]\n");
		leave(125);
	}
	root = argv[0];
	command = argv + 1;
	if (tracing)
		/* Shared, so that both sides write to one list. */
		trace = (struct trace *)SYS(mmap, 0, sizeof *trace, 3, 0x21, -1, 0);
	int status = run();
	if (tracing)
		print_trace();
	leave(status);
}
