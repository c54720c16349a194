/*
 * Who the user is: a fresh identity token whenever one is needed, from a
 * command of the user's, or from the development issuer of a server on this
 * machine. Blocking; a token is never kept.
 */
#ifndef PODTERM_CLIENT_IDENTITY_H
#define PODTERM_CLIENT_IDENTITY_H

#include "client/server.h"

#define IDENTITY_MAX 16384     /* bytes of a token */
#define IDENTITY_WAIT_MS 60000 /* for the command to end */

struct identity {
    const char *command; /* for /bin/sh; NULL or "" = the development issuer */
    const char *as;      /* its subject there */
};

/*
 * A token in fresh memory; wipe and free it (identity_free). s->is_cancelled
 * ends the command.
 *
 * is_quiet  the terminal is the program's: what the command says on stderr
 *           goes nowhere
 * NULL      ERR_INPUT: no way to get one, or what came is no token; ERR_PEER:
 *           no answer; ERR_TIMEOUT; ERR_SYSTEM: the command failed
 */
char *identity_new(const struct identity *id, const struct server *s,
                   bool is_quiet, struct err *e);
void identity_free(char *token); /* takes NULL */
/* The user's login name as a subject ([!-~]); freed by the caller. */
char *identity_login(void);

#endif
