/* The command of every contender: exits at once, so that what is measured is
 * the sandbox alone. */
#include "nolibc.h"

void start(long *stack)
{
	(void)stack;
	leave(0);
}
