/* Sleeps for a second: time enough to read how much memory the runner that
 * waits for it holds, and it ends by itself, so nothing has to be killed. */
#include "nolibc.h"

void start(long *stack)
{
	long second[2] = {1, 0};
	(void)stack;
	SYS(nanosleep, second, 0);
	leave(0);
}
