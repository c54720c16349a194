/*
 * An archive lent to a server on this machine: a process of our own answers
 * HTTP on a loopback port, and gives that file, and nothing else, to whoever
 * knows its path, which no other user can guess (128 random bits). It ends
 * with us, however we end. Nothing is copied, and no directory is opened to
 * anybody; podterm dev takes http from loopback alone.
 */
#ifndef PODTERM_CLIENT_LEND_H
#define PODTERM_CLIENT_LEND_H

#include "client/archive.h"

#include <sys/types.h>

#define LEND_HEAD_MAX 4096  /* bytes of a request's head */
#define LEND_HEAD_MS 1000   /* for it to come */
#define LEND_STALL_MS 30000 /* nobody takes what is sent */
#define LEND_URL_MAX 512

struct lend {
    pid_t pid; /* 0 = none */
    char url[LEND_URL_MAX];
};

/* Before the process has threads: it forks. ERR_SYSTEM. */
int lend_start(struct lend *l, const struct archive *a, struct err *e);
void lend_stop(struct lend *l); /* also when never started */

#endif
