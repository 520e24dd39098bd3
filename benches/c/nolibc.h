/* Raw system calls and a bare `_start`: what the yardstick programs are built
 * on. A libc would add its own start-up (static glibc: about 0.4 ms of CPUID
 * probing on a virtual machine), and the floor must not pay for that.
 */
#ifndef NOLIBC_H
#define NOLIBC_H

#ifndef __x86_64__
#error "the floor program knows the system calls of x86_64 only"
#endif

#include <asm/unistd.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long ulong_t;

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define SYS_(n, a, b, c, d, e, f, ...) \
	sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* SYS(name, up to six arguments): the kernel's answer, -errno on failure. */
#define SYS(name, ...) SYS_(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

#define AT_FDCWD (-100)
#define AT_EMPTY_PATH 0x1000
#define AT_RECURSIVE 0x8000
#define O_RDONLY 0
#define O_WRONLY 1
#define O_DIRECTORY 0200000
#define O_CLOEXEC 02000000
#define O_PATH 010000000
#define S_IFREG 0100000

/* The compiler may call these two by itself. */
void *memset(void *to, int byte, size_t n)
{
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return start;
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *start = to;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

static inline size_t length(const char *text)
{
	size_t n = 0;
	while (text[n])
		n++;
	return n;
}

static inline int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static inline int starts(const char *text, const char *with)
{
	while (*with && *text == *with)
		text++, with++;
	return !*with;
}

/* Appends to a buffer that the caller made large enough; returns its new end. */
static inline char *put(char *to, const char *text)
{
	size_t n = length(text);
	memcpy(to, text, n);
	to[n] = 0;
	return to + n;
}

static inline char *put_number(char *to, long value)
{
	char digits[24];
	int n = 0;
	ulong_t rest = value < 0 ? -(ulong_t)value : (ulong_t)value;
	do
		digits[n++] = '0' + rest % 10;
	while (rest /= 10);
	if (value < 0)
		*to++ = '-';
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return to;
}

static inline void say(int fd, const char *text)
{
	SYS(write, fd, text, length(text));
}

static inline void say_number(int fd, long value)
{
	char text[32];
	put_number(text, value);
	say(fd, text);
}

static inline __attribute__((noreturn)) void leave(int status)
{
	for (;;)
		SYS(exit_group, status);
}

__attribute__((noreturn)) void start(long *stack);
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start\n");

#endif
