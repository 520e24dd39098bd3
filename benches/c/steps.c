/* Says which instructions of a program are executed, its descendants before their exec included.
 *
 *   steps FROM TO OUT COMMAND [ARG...]
 *
 * Steps through COMMAND one instruction at a time (ptrace(2)) and writes to OUT
 * the addresses between FROM and TO (hexadecimal) that it saw, one a line, in the
 * order of their first execution: after a `p` those of the program itself, after a
 * `c` those of its descendants. The program must be linked at a fixed address.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "steps: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(FILE *out, unsigned char *seen, unsigned long from, unsigned long to, pid_t first)
{
	for (;;) {
		int status, signal;
		unsigned long at;
		unsigned char who;
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0)
			return;
		if (!WIFSTOPPED(status))
			continue;
		at = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0);
		who = pid == first ? 1 : 2;
		if (at >= from && at < to && !(seen[at - from] & who)) {
			seen[at - from] |= who;
			fprintf(out, "%c %lx\n", who == 1 ? 'p' : 'c', at);
		}
		signal = WSTOPSIG(status);
		if (signal == SIGTRAP || signal == SIGSTOP)
			signal = 0;
		ptrace(PTRACE_SINGLESTEP, pid, 0, signal);
	}
}

int main(int argc, char **argv)
{
	long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
	unsigned long from, to;
	unsigned char *seen;
	FILE *out;
	pid_t pid;

	if (argc < 5)
		return 2;
	from = strtoul(argv[1], NULL, 16);
	to = strtoul(argv[2], NULL, 16);
	out = fopen(argv[3], "we");
	seen = calloc(1, to - from);
	if (!out || !seen)
		die(argv[3]);
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[4], argv + 4);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid || ptrace(PTRACE_SETOPTIONS, pid, 0, options))
		die(argv[4]);
	ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
	watch(out, seen, from, to, pid);
	return fclose(out) ? 1 : 0;
}
