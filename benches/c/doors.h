// What both sides of the doors know: the one in the sandbox (doors.c, doors_kernel.c) and the caller outside
// (doorkeeper.c). A door is something that a sandbox should keep shut.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "sbx-door-secret"
// One more file descriptor of the caller, open on a file that only root may read.
#define LEAKED 77
// A group of the caller's that means nothing inside.
#define GROUP 4242

// What the caller made, as `work/caller` tells it to the inside.
struct caller {
    char dir[256];  // on the host; holds `outside/`, which no runner is asked to show
    int pid, key, port, segment;
    char host[128];
};

enum answer { OPEN, CLOSED, NOT_APPLICABLE };

static inline enum answer say(const char *name, enum answer answer, const char *format, ...) {
    char detail[200];
    va_list rest;
    va_start(rest, format);
    vsnprintf(detail, sizeof detail, format, rest);
    va_end(rest);
    static const char *const words[] = {"open", "closed", "n/a"};
    printf("%s %s %s\n", name, words[answer], detail);
    fflush(stdout);
    return answer;
}

// A call that had its effect is an open door; an errno is a closed one.
static inline enum answer tried(const char *name, long returned) {
    int error = errno;
    return returned >= 0 ? say(name, OPEN, "it worked") : say(name, CLOSED, "%s", strerrorname_np(error));
}

struct door {
    const char *group, *name, *text;
    void (*try)(const char *name);  // NULL: the caller sees, or another run tries
};
extern const struct door kernel_doors[];
extern const int kernel_count;
