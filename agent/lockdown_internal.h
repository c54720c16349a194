/* What the lockdowns (agent/lockdown.c for the unpacker,
 * agent/lockdown_network.c) share. For these alone. */
#ifndef PODTERM_AGENT_LOCKDOWN_INTERNAL_H
#define PODTERM_AGENT_LOCKDOWN_INTERNAL_H

#include "base/err.h"

#include <seccomp.h>
#include <stddef.h>
#include <sys/resource.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A sanitizer's shadow memory alone is past every limit, and it asks for its
 * signal stack before whatever does not return. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKDOWN_MEMORY(bytes) ((void)(bytes), RLIM_INFINITY)
#define LOCKDOWN_MORE_CALLS SCMP_SYS(sigaltstack),
#else
#define LOCKDOWN_MEMORY(bytes) (bytes)
#define LOCKDOWN_MORE_CALLS
#endif

int lockdown_no_new_privs(struct err *e);
/* Soft and hard. */
int lockdown_limit(int what, rlim_t value, struct err *e);

/* The kernel's version of Landlock's interface; 0 = it has none. */
int lockdown_landlock(void);

/* A filter that refuses all with EPERM. Each of what follows returns 0 or
 * -errno, as libseccomp does. */
scmp_filter_ctx lockdown_filter(void);
int lockdown_allow(scmp_filter_ctx ctx, const int *calls, size_t count);
/* A call, if its argument of that number has this value. */
int lockdown_allow_if(scmp_filter_ctx ctx, int call, unsigned arg,
                      uint64_t value);
/* abort(3), and no signal to anybody else. */
int lockdown_allow_abort(scmp_filter_ctx ctx);
/* r: how its making went. Takes ctx, which may be NULL. */
int lockdown_load(scmp_filter_ctx ctx, int r, struct err *e);

#endif
