/*
 * A program that wants out. Each attempt is made in a child of its own and
 * told in one line: "NAME refused REASON" (an errno, or a word), "NAME THROUGH
 * what" or "NAME n/a why" (there is nothing to try here). What each is to come
 * to stands in README.md, which the tests hold it against.
 *
 * Its arguments are words NAME=VALUE: CAGED=1 (also what would harm a host),
 * POD=1 (the network namespace is shared), TCP, AGENT, CONTROLLER, GATEWAY,
 * BROKER (ports of 127.0.0.1), SOCKET, ABSTRACT (unix sockets of the host),
 * STATE (a directory of the host), PID (a process of it), KEY=tail:head (of a
 * key that is looked for; in halves, so that no copy is our own).
 */
#ifndef PODTERM_TESTS_HOSTILE_H
#define PODTERM_TESTS_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct attempt {
    const char *name;
    void (*run)(const struct attempt *a);
    long n[6];
    const char *text;
    bool is_harmful; /* to a host: in a cage alone */
};

/* The value of a word; "" = it was not given. */
const char *told(const char *name);
bool is_caged(void);
/* A directory that we may write to. */
extern char scratch[256];

/* --- what an attempt came to; the first call counts --- */

void refused(const char *reason);
void through(const char *format, ...) __attribute__((format(printf, 1, 2)));
void absent(const char *why);
/* r < 0: refused by errno; else through. */
void outcome(long r, const char *what);
/* The same, but whatever says no more than "not like that" is through: the
 * call does its work. */
void outcome_reached(long r);

void attempts_run(const struct attempt *all, size_t count);
#define ATTEMPTS(all) attempts_run(all, sizeof(all) / sizeof((all)[0]))

/* Connect within a bounded time: 0, or -1 with errno. */
int reach(const void *to, socklen_t len);

/* --- the chapters --- */

void sockets_run(void);
void connects_run(void);
void namespaces_run(void);
void calls_run(void);
void processes_run(void);
void files_run(void);
void key_run(void);

#endif
