/*
 * The development issuer: an identity for whoever of this machine's own user
 * asks (GET /dev/token?sub=NAME). Its key lives in memory only and is made
 * at each start; its issuer name is nobody else's. Never on a listener that
 * is not loopback (settings.c refuses). Source: SECURITY rule 1.
 */
#ifndef PODTERM_CONTROLLER_DEVISSUER_H
#define PODTERM_CONTROLLER_DEVISSUER_H

#include "base/err.h"
#include "base/token.h"

#include <stdbool.h>
#include <sys/types.h>

#define DEVISSUER_LIFE_S 3600
#define DEVISSUER_SUB_MAX 128 /* bytes of a name */

struct call;
struct devissuer;

struct devissuer *devissuer_new(const char *audience, struct err *e);
void devissuer_free(struct devissuer *d);
/* Its public key as a set, the caller's. */
struct token_keys *devissuer_keys(const struct devissuer *d, struct err *e);
/* An identity token for sub, the caller's (free). */
char *devissuer_sign(const struct devissuer *d, const char *sub, int64_t now_s,
                     struct err *e);

/* May a process of this uid have a token? Ours, 0, or $SUDO_UID. */
bool devissuer_uid_ok(uid_t uid, uid_t ours, const char *sudo_uid);

void devissuer_token(struct call *c); /* handler of GET /dev/token */

#endif
