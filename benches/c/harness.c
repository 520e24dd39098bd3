/* Measures commands against each other: posix_spawn, wait4, CLOCK_MONOTONIC.
 *
 *   harness SAMPLES GAP_US UID OUT COMMAND... [::: COMMAND...]
 *
 * Runs every command SAMPLES times (after 5 that do not count), interleaved and
 * in reverse order every second round, GAP_US idle before each. Under another
 * UID than the caller's it becomes that user first. One line a run goes to OUT:
 *   command wall_ns user_us system_us minor_faults context_switches
 * where all but the first two are the sum of wait4 over the command and every
 * descendant that was waited for. A run that does not exit with 0 ends it all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 64
#define WARM_UP 5

extern char **environ;

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long micros(struct timeval t)
{
	return t.tv_sec * 1000000 + t.tv_usec;
}

static void die(const char *what, const char *detail)
{
	fprintf(stderr, "harness: %s: %s\n", what, detail);
	exit(1);
}

static void sample(int index, char **argv, FILE *out)
{
	struct rusage use;
	pid_t pid;
	int status, error;
	long long begin = now();

	error = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	if (error)
		die(argv[0], strerror(error));
	if (wait4(pid, &status, 0, &use) != pid)
		die("wait4", strerror(errno));
	long long wall = now() - begin;
	if (status != 0) {
		char text[32];
		snprintf(text, sizeof text, "wait status 0x%x", status);
		die(argv[0], text);
	}
	if (out)
		fprintf(out, "%d %lld %ld %ld %ld %ld\n", index, wall, micros(use.ru_utime),
			micros(use.ru_stime), use.ru_minflt, use.ru_nvcsw + use.ru_nivcsw);
}

static void become(uid_t uid)
{
	if (uid == getuid())
		return;
	if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		die("change of user", strerror(errno));
}

int main(int argc, char **argv)
{
	char **command[MAX_COMMANDS];
	int commands = 0;

	if (argc < 6)
		die("usage", "harness SAMPLES GAP_US UID OUT COMMAND... [::: COMMAND...]");
	int samples = atoi(argv[1]);
	struct timespec gap = {0, atol(argv[2]) * 1000};
	FILE *out = fopen(argv[4], "we");
	if (!out)
		die(argv[4], strerror(errno));
	become(atoi(argv[3]));
	for (int i = 5; i < argc; i++) {
		if (commands == MAX_COMMANDS)
			die("usage", "too many commands");
		command[commands++] = argv + i;
		while (i < argc && strcmp(argv[i], ":::"))
			i++;
		argv[i] = NULL;
	}
	for (int round = -WARM_UP; round < samples; round++)
		for (int i = 0; i < commands; i++) {
			int which = round & 1 ? commands - 1 - i : i;
			if (gap.tv_nsec)
				nanosleep(&gap, NULL);
			sample(which, command[which], round < 0 ? NULL : out);
		}
	return fclose(out) ? 1 : 0;
}
