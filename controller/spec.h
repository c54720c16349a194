/*
 * A session's spec (PROTOCOL.md 6): all its agent is told, as JSON text.
 */
#ifndef PODTERM_CONTROLLER_SPEC_H
#define PODTERM_CONTROLLER_SPEC_H

#include "base/store.h"
#include "controller/create.h"
#include "controller/keys.h"
#include "controller/launcher.h"
#include "controller/settings.h"

#include <stdint.h>

/* What a launcher needs to start row as c asks. The caller's (launch_free);
 * holds the environment and the session key. */
struct launch *spec_launch(const struct settings *s, const struct keys *k,
                           const char *isolation, const struct create *c,
                           const struct store_session *row);

/* What a warm runner of this id is started with. The caller's. */
struct launch *spec_warm(const struct settings *s, const struct keys *k,
                         const char *id);

/* An owner as a number, for counting alone; never 0. */
uint64_t spec_charge(const char *iss, const char *sub);

/* The kids of the key set, one a line; the caller's. */
char *spec_trust(const struct keys *k);

#endif
