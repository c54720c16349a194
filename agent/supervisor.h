/*
 * The supervisor: the agent's first process (PID 1 of its container). It
 * holds the listening sockets and the session key's descriptor, starts the
 * main process, starts it again at once when it is killed, and writes the
 * report when it cannot come back. It parses nothing.
 */
#ifndef PODTERM_AGENT_SUPERVISOR_H
#define PODTERM_AGENT_SUPERVISOR_H

#include "base/err.h"

#define SUPERVISOR_RESTARTS_MAX 20 /* within SUPERVISOR_WINDOW_MS */
#define SUPERVISOR_WINDOW_MS 10000

struct supervisor_conf {
    char **argv; /* of this process; the main process gets the same and
                    "--main --key-fd 3 --listen-fd 4" (and
                    "--health-fd 5", "--broker-fd 6") */
    int argc;
    int key_fd; /* memfd with the session key */
    int listen_fd;
    int health_fd; /* or -1 */
    int broker_fd; /* memfd with the keys of APIs, or -1 */
    const char *report_path;
};

/* Returns the exit status for this process when all is over. */
int supervisor_run(const struct supervisor_conf *conf, struct err *e);

#endif
