/* Makes the system calls that its arguments name and prints what the kernel answered.
   An argument is LABEL:NUMBER:A0:A1…; an operand that begins with `/` is passed as a pointer to
   its text. `i386:NUMBER` enters the kernel by int 0x80. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long foreign(long number)
{
#ifdef __x86_64__
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
    return answer;
#else
    return number;
#endif
}

static unsigned long operand(const char *text)
{
    if (!text)
        return 0;
    return *text == '/' ? (unsigned long)text : strtoull(text, NULL, 0);
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 1; i < count; i++) {
        char *label = strsep(&words[i], ":"), *number = strsep(&words[i], ":"), *texts[6] = {0};
        for (int j = 0; j < 6; j++)
            texts[j] = strsep(&words[i], ":");
        if (!number) {
            fprintf(stderr, "probe: %s has no number\n", label);
            return 2;
        }
        if (!strcmp(label, "i386")) {
            printf("%s %ld\n", label, foreign(strtol(number, NULL, 0)));
            continue;
        }
        unsigned long a[6];
        for (int j = 0; j < 6; j++)
            a[j] = operand(texts[j]);
        pid_t self = getpid();
        errno = 0;
        long answer = syscall(strtol(number, NULL, 0), a[0], a[1], a[2], a[3], a[4], a[5]);
        int error = answer == -1 ? errno : 0;
        if (getpid() != self)
            _exit(0); /* what a clone made */
        printf("%s %d\n", label, error);
    }
    return 0;
}
