/*
 * The keys of APIs, on their way from an operator's files to a session's key
 * broker: read when it starts, and given away sealed.
 */
#ifndef PODTERM_CONTROLLER_BROKERKEYS_H
#define PODTERM_CONTROLLER_BROKERKEYS_H

#include "base/err.h"
#include "controller/settings.h"

/* Does this file hold a key, and is it ours alone to read? ERR_INPUT says what
 * is wrong. */
int brokerkeys_check(const char *path, struct err *e);

/* {"anthropic":"…"} in a sealed descriptor, the caller's. -1: what is wrong
 * with a file. */
int brokerkeys_fd(const struct settings *s, struct err *e);

#endif
