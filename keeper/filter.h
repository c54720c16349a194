/*
 * The system calls a caged program may not make (seccomp(2)): what reaches
 * past the cage's namespaces (AF_VSOCK: the hypervisor; kernel keyrings),
 * what makes new ones, and large kernel interfaces no terminal program needs.
 * Written by hand as classic BPF, so that the keeper needs no library.
 */
#ifndef PODTERM_KEEPER_FILTER_H
#define PODTERM_KEEPER_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#define FILTER_MAX 128 /* instructions */

/* Write the program for this architecture; returns its length, 0 on one the
 * filter was not written for. */
size_t filter_build(struct sock_filter out[FILTER_MAX]);

#endif
