/*
 * A Kubernetes API that says what the test wrote down: https, one connection
 * at a time, each answered by the next reply. For what a real one does seldom
 * or never; tests/cluster has a real one.
 */
#ifndef PODTERM_TESTS_LIB_KUBED_H
#define PODTERM_TESTS_LIB_KUBED_H

#include "controller/kube.h"
#include "tests/lib/fileserver.h"

struct kubed {
    char *dir;
    struct fileserver *server;
    struct kube *kube; /* dials it, with the token in DIR/token */
};

/* Replies are copied, but not what they point to. */
void kubed_start(struct kubed *k, const struct fileserver_reply *script,
                 size_t count);
/* The same, but decide makes each reply (fileserver_start_with). */
void kubed_start_with(struct kubed *k, fileserver_decide decide, void *arg);
void kubed_stop(struct kubed *k);
/* 200 and this text. */
struct fileserver_reply kubed_says(const char *text);
/* This status, and a Status object with the sentence, or NULL. */
struct fileserver_reply kubed_refuses(int status, const char *status_object);
/* The first line of the head of request i: "GET /… HTTP/1.1". */
const char *kubed_asked(struct kubed *k, int i);

#endif
