/*
 * A small HTTP server on loopback that answers what a test has written down,
 * one request a connection, and keeps the requests.
 */
#ifndef PODTERM_TESTS_LIB_SCRIPTED_H
#define PODTERM_TESTS_LIB_SCRIPTED_H

#include <pthread.h>
#include <stddef.h>

#define SCRIPTED_MAX 32

struct scripted {
    int port;
    char base[64]; /* "http://127.0.0.1:PORT" */
    int listen_fd;
    pthread_t thread;
    pthread_mutex_t lock;
    /* answers in order; the last is given again and again. NULL text: the
     * connection is closed without an answer */
    const char *answers[SCRIPTED_MAX];
    int answer_count;
    char *requests[SCRIPTED_MAX]; /* heads and bodies as they came */
    int request_count;
};

/* answers: whole HTTP answers without Content-Length and Connection (both are
 * added), e.g. "200 OK\r\n\r\n{}". */
void scripted_start(struct scripted *s, const char *const *answers, int count);
void scripted_stop(struct scripted *s);
int scripted_count(struct scripted *s);
/* Value of a header of request i; "" when absent; valid until the next. */
const char *scripted_header(struct scripted *s, int i, const char *name);

#endif
