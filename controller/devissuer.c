#include "controller/devissuer.h"

#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/app.h"
#include "controller/peeruid.h"
#include "controller/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct devissuer {
    struct token_signer *signer;
    const char *audience;
};

struct devissuer *devissuer_new(const char *audience, struct err *e)
{
    struct token_signer *signer = token_signer_make(NULL, e);
    struct devissuer *d;

    if (!signer)
        return NULL;
    d = mem_zero(1, sizeof *d);
    d->signer = signer;
    d->audience = audience;
    return d;
}

void devissuer_free(struct devissuer *d)
{
    if (!d)
        return;
    token_signer_free(d->signer);
    free(d);
}

struct token_keys *devissuer_keys(const struct devissuer *d, struct err *e)
{
    own_json struct json *set = json_object();
    struct json *list = json_set(set, "keys", json_array());

    json_set(list, NULL, token_signer_jwk(d->signer));
    return token_keys_of(set, e);
}

static bool sub_ok(const char *sub)
{
    size_t len = sub ? strlen(sub) : 0;

    if (len < 1 || len > DEVISSUER_SUB_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (sub[i] <= 0x20 || sub[i] >= 0x7f)
            return false;
    return true;
}

char *devissuer_sign(const struct devissuer *d, const char *sub, int64_t now_s,
                     struct err *e)
{
    own_json struct json *claims = json_object();

    if (!sub_ok(sub)) {
        err_set(e, ERR_INPUT,
                "sub must be 1 to %d printable ASCII characters without "
                "spaces: /dev/token?sub=NAME",
                DEVISSUER_SUB_MAX);
        return NULL;
    }
    json_set_str(claims, "iss", SETTINGS_DEV_ISSUER);
    json_set_str(claims, "aud", d->audience);
    json_set_str(claims, "sub", sub);
    json_set_int(claims, "iat", now_s);
    json_set_int(claims, "exp", now_s + DEVISSUER_LIFE_S);
    return token_sign(d->signer, TOKEN_TYP_IDENTITY, claims, e);
}

bool devissuer_uid_ok(uid_t uid, uid_t ours, const char *sudo_uid)
{
    char *end;
    unsigned long sudo;

    if (uid == ours || uid == 0)
        return true;
    if (!sudo_uid || *sudo_uid < '0' || *sudo_uid > '9')
        return false;
    errno = 0;
    sudo = strtoul(sudo_uid, &end, 10);
    return errno == 0 && *end == '\0' && sudo == uid;
}

void devissuer_token(struct call *c)
{
    struct devissuer *d = c->app->devissuer;
    struct err e = {0};
    own_mem char *token = NULL;
    struct json *out;
    uid_t uid;

    if (peer_uid(&c->peer, &c->local, &uid, &e) < 0) {
        answer_err(&c->answer, &e);
        return;
    }
    if (!devissuer_uid_ok(uid, geteuid(), getenv("SUDO_UID"))) {
        answer_problem(&c->answer, 403, "denied",
                       "this server belongs to another user of the machine");
        return;
    }
    token = devissuer_sign(d, ws_request_query(c->r, "sub"), loop_wall_s(), &e);
    if (!token) {
        answer_err(&c->answer, &e);
        return;
    }
    out = json_object();
    json_set_str(out, "id_token", token);
    answer_json(&c->answer, 200, out);
}
