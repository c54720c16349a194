/*
 * The system calls of a program in its cage, as filters for seccomp(2)
 * (doorway on libseccomp). What they let through is listed; the rest is
 * ENOSYS, which programs meet on older kernels, too, and have another way
 * for, or EPERM. The same everywhere: in a cage of this machine, in a pod, and
 * where nothing else can be had.
 *
 * One thing for callers to know: the kernel asks every filter and takes the
 * strictest answer, of two errors the one of the filter set last.
 * Source: seccomp(2); SECURITY rules 2 and 14.
 */
#ifndef PODTERM_AGENT_CALLFILTER_H
#define PODTERM_AGENT_CALLFILTER_H

#include "base/err.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

struct callfilter {
    struct sock_filter *code; /* owned */
    size_t count;
};

/* What may be called at all, of this processor's own ABI; sockets are local
 * ones, TCP, and netlink's routes; with has_udp UDP as well. */
int callfilter_calls(bool has_udp, struct callfilter *out, struct err *e);
/* What may not be asked of the calls that remain, and how it is said. To be
 * set after callfilter_calls. */
int callfilter_arguments(struct callfilter *out, struct err *e);
/* No socket of the internet families either. */
int callfilter_no_inet(struct callfilter *out, struct err *e);
/* Each -1: ERR_SYSTEM. */

void callfilter_fini(struct callfilter *f);

#endif
