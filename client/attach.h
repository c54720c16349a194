/*
 * One user at one session: the terminal or the pipes on this side, the
 * gateway on the other, over as many connections as it takes.
 *
 * The state of the streams is in link.h, a connection in leg.h, a fresh token
 * in ticket.h. `leg` is the connection that carries data; `next` the one that
 * is to take over: the first, one after a loss, one after MOVE (then `leg`
 * carries data until `next` is READY). What ends it:
 *
 *   EXIT or session_ended       the program's status, or EXIT_PODTERM
 *   ~. (escape.h)               0; the session goes on
 *   replaced, denied, ...       never tried again: EXIT_PODTERM
 *   no connection for retry_s   EXIT_PODTERM, and how to attach again
 *   a signal, the reader gone   128 + signal; the session goes on, unless the
 *                               program had not started or nobody reads it
 */
#ifndef PODTERM_CLIENT_ATTACH_H
#define PODTERM_CLIENT_ATTACH_H

#include "client/remote.h"
#include "client/progress.h"

#include <stdbool.h>

struct attach_conf {
    struct remote *remote;
    char sid[ID_SIZE];
    enum role role;         /* ROLE_OWNER or ROLE_VIEWER */
    const char *token;      /* from create; NULL = fetch one */
    const char *attach_url; /* with it */
    bool is_ours;       /* made by this command: leaving before its program has
                           started, or when nobody reads it, ends it */
    bool is_unfiltered; /* --raw */
    int escape_key;     /* see client/escape.h; on a terminal alone */
    int64_t retry_ms;
    struct progress *progress;
    void (*started)(void); /* the program runs. May be NULL */
};

struct attach_result {
    int status;     /* to exit with */
    bool wants_end; /* the session is to be deleted now */
    bool is_stuck;  /* a thread still waits for the network, with conf->remote:
                       leave by _exit */
};

/* Runs until it is over; the terminal is restored, everything said. */
void attach_run(const struct attach_conf *conf, struct attach_result *out);

#endif
