/*
 * What one attachment needs: a fresh session token from the controller, and
 * the gateway's addresses. Fetched on a worker, so that the loop goes on.
 */
#ifndef PODTERM_CLIENT_TICKET_H
#define PODTERM_CLIENT_TICKET_H

#include "base/vocab.h"
#include "client/remote.h"
#include "client/reply.h"
#include "client/target.h"

struct ticket {
    /* in */
    const struct remote *remote;
    char sid[ID_SIZE];
    enum role role;
    char *attach_url; /* owned; with a token: use both as they are */
    /* in and out */
    char *token; /* owned, wiped; NULL on failure */
    /* out */
    struct target target;
    struct err e;         /* ERR_NONE = all is there */
    struct reply_end end; /* with ERR_ENDED */
};

/* Blocking: fetch what is missing. */
void ticket_get(struct ticket *t);
void ticket_fini(struct ticket *t);
/* Is it worth another try? */
bool ticket_is_passing(const struct ticket *t);

#endif
