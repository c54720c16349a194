/* A kernel without a system call, for this process and all it starts: a
 * seccomp filter answers in its place. There is no way back. */
#ifndef PODTERM_TESTS_LIB_NOCALL_H
#define PODTERM_TESTS_LIB_NOCALL_H

/* call: SYS_…; error: what it fails with, ENOSYS as an older kernel, EPERM as
 * an older container engine's filter. Fails the test if it cannot be set. */
void nocall(int call, int error);

#endif
