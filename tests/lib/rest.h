/*
 * A raw HTTP/1.1 client for tests: says exactly what it is told to say, one
 * request a connection. And the controller as a child process.
 */
#ifndef PODTERM_TESTS_LIB_REST_H
#define PODTERM_TESTS_LIB_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct rest_answer {
    int status; /* 0 = the connection broke */
    char *head; /* header block; owned */
    char *body; /* owned */
    size_t len;
};

/* headers: "name: value\r\n..." or NULL; no Host line is added when it holds
 * one. body NULL = none. */
struct rest_answer rest_call(int port, const char *method, const char *path,
                             const char *headers, const char *body);
/* The same in two halves, for many requests at once. rest_ask: a descriptor
 * for rest_hear, which closes it; -1 = nobody listens, which is an answer of
 * status 0. */
int rest_ask(int port, const char *method, const char *path,
             const char *headers, const char *body);
struct rest_answer rest_hear(int fd);
void rest_fini(struct rest_answer *a);
/* Copy of a header's value, "" when absent; valid until the next call. */
const char *rest_header(const struct rest_answer *a, const char *name);

struct rest_server { /* podterm-controller */
    pid_t pid;
    int port, metrics_port;
    int log_fd;
    char last[16384]; /* after rest_stop: the end of its log */
};

/* Start $PODTERM_BUILD/bin/podterm-controller with args (NULL-terminated,
 * without argv[0]) and wait until it is ready. false: it did not start; the
 * reason's log line is in text. */
bool rest_start(struct rest_server *s, const char *const *args, char *text,
                size_t size);
/* signum, then wait. Returns the wait status. */
int rest_stop(struct rest_server *s, int signum);
/* What it logged since; not terminated by a wait: what is there now. */
size_t rest_log(struct rest_server *s, char *out, size_t size);

/* The first of 25,000 uids for this process' controllers (--uid-first): each
 * wants some of its own, here and in tests that run beside this one. */
long rest_uids(void);

#endif
