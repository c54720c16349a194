/*
 * A program that tries what a caged one must not be able to do, and what it
 * must, and says so line by line: "name=open" or "name=shut". Run outside of
 * a cage the same program shows that its tries can succeed.
 *
 * It reads one line of NAME=VALUE words first, what it is to look for:
 * STATE, HOME_FILE (paths), API, GATEWAY, AGENT, V6 (ports on loopback),
 * ABSTRACT, SOCKET (unix sockets), PID (a process of the host), PROCESS (the
 * one to look into: PID 1 of the cage), CAGED (1: also the tries that would
 * harm a host). Lines "env=NAME=VALUE" tell with what environment it was
 * started, "count.NAME=N" what it could use up, and the last line is "done".
 */
#ifndef PODTERM_TESTS_LIB_PROBE_H
#define PODTERM_TESTS_LIB_PROBE_H

#include <stdbool.h>

enum probe_outside {
    PROBE_ANYBODY, /* open outside of a cage */
    PROBE_ROOT,    /* open there for root */
    PROBE_DEPENDS, /* on the machine */
    PROBE_INSIDE,  /* tried in a cage alone: it would harm a host */
};

struct probe {
    const char *name;
    bool (*is_open)(const char *arg);
    const char *arg;
    enum probe_outside outside;
    bool is_open_inside; /* a caged program may: its own scratch space */
};

/* All of them; the last has no name. */
extern const struct probe probes[];

int probe_main(void);

#endif
