#include "tests/lib/warmpost.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

char *warm_token(struct agentbox *b, void (*change)(struct activate_claims *c))
{
    int64_t now = loop_wall_s();
    struct activate_claims c = {.iss = AGENTBOX_ISSUER,
                                .aud = AGENTBOX_POD,
                                .iat = now,
                                .nbf = now,
                                .exp = now + TOKEN_LIFE_S};
    struct err e = {0};
    char *token;

    memcpy(c.sid, b->sid, ID_SIZE);
    memcpy(c.key, b->key, sizeof(c.key));
    random_id(c.jti);
    c.spec = json_parse(b->spec, strlen(b->spec), &e);
    if (change)
        change(&c);
    token = activate_token_sign(b->signer, &c, &e);
    if (!token)
        fail_msg("token: %s", e.text);
    activate_claims_fini(&c);
    return token;
}

struct wspeer *warm_dial(struct agentbox *b, const char *id, const uint8_t *key)
{
    struct wspeer *p = wspeer_try_dial(b->addr);

    if (!p)
        return NULL;
    p->may_die = true;
    p->tls = tls_dial_psk(b->ctx, p->fd, id, key);
    if (wspeer_shake(p))
        return p;
    wspeer_free(p);
    return NULL;
}

struct wspeer *warm_dial_pool(struct agentbox *b)
{
    struct wspeer *p = warm_dial(b, b->pool_id, b->pool_key);

    if (!p)
        fail_msg("the warm agent was not reached");
    return p;
}

void warm_head(struct wspeer *p, size_t len)
{
    own_mem char *head = mem_printf(
        "POST " ACTIVATE_PATH " HTTP/1.1\r\nhost: x\r\n"
        "content-type: " ACTIVATE_TYPE "\r\ncontent-length: %zu\r\n\r\n",
        len);

    wspeer_puts(p, head);
}

int warm_status(struct wspeer *p)
{
    own_mem char *head = wspeer_head(p);
    int status = 0;

    if (head)
        assert_int_equal(sscanf(head, "HTTP/1.1 %d ", &status), 1);
    return status;
}

static int post(struct agentbox *b, const char *token, const char *id,
                const uint8_t *key)
{
    struct wspeer *p = warm_dial(b, id, key);
    int status;

    if (!p)
        return -1;
    warm_head(p, strlen(token));
    wspeer_puts(p, token);
    status = warm_status(p);
    wspeer_free(p);
    return status;
}

int warm_post(struct agentbox *b, const char *token)
{
    return post(b, token, b->pool_id, b->pool_key);
}

int warm_post_session(struct agentbox *b, const char *token)
{
    return post(b, token, b->psk_id, b->key);
}
