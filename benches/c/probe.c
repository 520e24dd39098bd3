/* Prints, from inside a sandbox, how isolated it is: one fact a line.
 *
 *   probe LINK...     the host's namespaces, as /proc/self/ns shows them: net:[4026531840] ...
 */
#include "nolibc.h"

static char text[65536];

/* Reads a whole small file into `text`; an empty string when there is none. */
static char *slurp(const char *path)
{
	long fd = SYS(openat, AT_FDCWD, path, O_RDONLY), got, n = 0;

	while (fd >= 0 && (got = SYS(read, fd, text + n, sizeof text - 1 - n)) > 0)
		n += got;
	text[n] = 0;
	SYS(close, fd);
	return text;
}

/* A namespace whose link differs from the host's is the sandbox's own. */
static void namespaces(char **host)
{
	say(1, "namespaces");
	for (; *host; host++) {
		char path[64], link[64], *end = put(path, "/proc/self/ns/");
		for (const char *c = *host; *c != ':'; c++)
			*end++ = *c;
		*end = 0;
		long n = SYS(readlinkat, AT_FDCWD, path, link, sizeof link - 1);
		if (n < 0)
			continue;
		link[n] = 0;
		if (!same(link, *host)) {
			say(1, " ");
			say(1, path + length("/proc/self/ns/"));
		}
	}
	say(1, "\n");
}

static void mounts(void)
{
	long lines = 0;
	for (char *c = slurp("/proc/self/mountinfo"); *c; c++)
		lines += *c == '\n';
	say(1, "mounts ");
	say_number(1, lines);
	say(1, "\n");
}

static void root_mount(void)
{
	struct {
		long fields[10];
		long flags, spare[8];
	} fs = {0};
	SYS(statfs, "/", &fs);
	say(1, fs.flags & 1 ? "root read-only\n" : "root writable\n");
}

static void status_line(const char *key)
{
	for (char *line = slurp("/proc/self/status"); *line;) {
		char *end = line;
		while (*end && *end != '\n')
			end++;
		if (starts(line, key)) {
			*end = 0;
			say(1, key);
			say(1, " ");
			for (line += length(key) + 1; *line == '\t' || *line == ' ';)
				line++;
			say(1, line);
			say(1, "\n");
			return;
		}
		line = *end ? end + 1 : end;
	}
}

static void loopback(void)
{
	struct {
		char name[16];
		short flags;
		char rest[22];
	} request = {"lo", 0, {0}};
	long fd = SYS(socket, 2, 2, 0);
	long failed = SYS(ioctl, fd, 0x8913, &request); /* SIOCGIFFLAGS */
	say(1, failed ? "lo none\n" : request.flags & 1 ? "lo up\n" : "lo down\n");
}

/* Names in a directory: all of /dev, but only the processes of /proc. */
static void list(const char *label, const char *path, int digits_only)
{
	struct entry {
		uint64_t inode, offset;
		unsigned short size;
		unsigned char type;
		char name[];
	};
	long fd = SYS(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY), got;

	say(1, label);
	while ((got = SYS(getdents64, fd, text, sizeof text)) > 0)
		for (long at = 0; at < got;) {
			struct entry *e = (struct entry *)(text + at);
			at += e->size;
			if (e->name[0] == '.' || (digits_only && (e->name[0] < '0' || e->name[0] > '9')))
				continue;
			say(1, " ");
			say(1, e->name);
		}
	say(1, "\n");
}

/* Lines of a /proc file with single spaces, joined by a comma. */
static void squeezed(const char *label, const char *path)
{
	char *from = slurp(path), *to = text;
	say(1, label);
	say(1, " ");
	for (; *from; from++) {
		char c = *from == '\n' && from[1] ? ',' : *from == '\n' ? ' ' : *from;
		if (c != ' ' || (to > text && to[-1] != ' ' && to[-1] != ','))
			*to++ = c;
	}
	while (to > text && to[-1] == ' ')
		to--;
	*to = 0;
	say(1, text);
	say(1, "\n");
}

void start(long *stack)
{
	char **argv = (char **)(stack + 1);

	namespaces(argv + 1);
	mounts();
	root_mount();
	status_line("CapEff");
	status_line("CapBnd");
	status_line("NoNewPrivs");
	status_line("Seccomp");
	loopback();
	squeezed("uid_map", "/proc/self/uid_map");
	list("processes", "/proc", 1);
	list("dev", "/dev", 0);
	leave(0);
}
