#include "tests/lib/direct.h"

#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/store.h"
#include "gateway/wsframe.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DIRECT_LISTENS_MS 10000

void direct_find(const struct stack *s, const char *sid, struct direct *out)
{
    own_mem char *db = mem_printf("%s/state/podterm.db", s->dir);
    own_mem char *file = mem_printf("%s/state/keys/seal", s->dir);
    struct store_session *row = mem_zero(1, sizeof(*row));
    int64_t until = loop_now_ms() + DIRECT_LISTENS_MS;
    uint8_t seal[SEAL_KEY_BYTES];
    struct err e = {0};
    struct store *store;

    seal_init();
    assert_int_equal(seal_key_load(file, seal, &e), 0);
    store = store_sqlite_open(db, &e);
    assert_non_null(store);
    for (;;) {
        assert_int_equal(store_get(store, sid, row, &e), 0);
        if (row->agent_addr[0])
            break;
        if (loop_now_ms() > until)
            fail_msg("no address of %s within %d ms", sid, DIRECT_LISTENS_MS);
        poll(NULL, 0, 5);
    }
    store_free(store);
    memset(out, 0, sizeof(*out));
    snprintf(out->addr, sizeof(out->addr), "%s", row->agent_addr);
    snprintf(out->psk_id, sizeof(out->psk_id), "%s", row->psk_id);
    assert_int_equal(seal_open(seal, sid, row->psk_sealed,
                               sizeof(row->psk_sealed), out->key),
                     0);
    free(row);
}

struct wspeer *direct_dial(const struct direct *d)
{
    struct err e = {0};
    struct ssl_ctx_st *ctx = tls_psk_client_ctx(&e);
    struct wspeer *p = wspeer_try_dial(d->addr);

    assert_non_null(ctx);
    assert_non_null(p);
    p->tls = tls_dial_psk(ctx, p->fd, d->psk_id, d->key);
    tls_ctx_free(ctx); /* the stream holds its own */
    assert_non_null(p->tls);
    if (wspeer_shake(p))
        return p;
    wspeer_free(p);
    return NULL;
}

struct wspeer *direct_attach(const struct direct *d)
{
    struct wspeer *p = direct_dial(d);

    if (!p) {
        fail_msg("the agent refused the handshake");
        return NULL;
    }
    wspeer_upgrade(p, d->addr, "");
    return p;
}

char *direct_get(const struct direct *d, const char *path)
{
    struct wspeer *p = direct_dial(d);
    own_mem char *ask = mem_printf("GET %s HTTP/1.1\r\nHost: %s\r\n"
                                   "Connection: close\r\n\r\n",
                                   path, d->addr);
    char *out;

    if (!p) {
        fail_msg("the agent refused the handshake");
        return NULL;
    }
    wspeer_puts(p, ask);
    while (wspeer_more(p, WSPEER_MS) > 0)
        ;
    out = mem_strn((char *)p->in, p->in_len);
    wspeer_free(p);
    return out;
}

uint64_t direct_metric(const struct direct *d, const char *name)
{
    own_mem char *text = direct_get(d, "/metrics");
    own_mem char *line = mem_printf("\n%s ", name);
    const char *at = strstr(text, line);

    if (!at) {
        fail_msg("no %s in: %s", name, text);
        return 0;
    }
    return strtoull(at + strlen(line), NULL, 10);
}

struct wspeer *direct_gateway(const struct stack *s)
{
    own_mem char *addr = mem_printf("127.0.0.1:%d", s->attach_port);
    struct wspeer *p = wspeer_dial(addr, NULL);

    wspeer_upgrade(p, addr, "");
    return p;
}

void direct_hello(struct wspeer *p, const char *token)
{
    own_mem char *text = mem_printf("{\"token\":\"%s\"}", token);

    wspeer_binary(p, FRAME_HELLO, text);
}

struct wspeer *direct_ready(struct wspeer *p)
{
    struct wsmsg m;

    do
        assert_true(wspeer_recv(p, &m));
    while (m.opcode != WSFRAME_BINARY || m.bytes[0] == FRAME_STAGE);
    if (m.bytes[0] != FRAME_READY)
        fail_msg("not READY but %02x %.*s", m.bytes[0], (int)m.len - 1,
                 (char *)m.bytes + 1);
    return p;
}

void direct_refused(struct wspeer *p, const char *word, int code)
{
    char found[64] = "", text[512] = "";
    struct wsmsg m;

    do {
        if (!wspeer_recv(p, &m))
            fail_msg("the connection ended without a close frame, not with "
                     "%s %d: %s",
                     word ? word : "close", code, text);
        if (m.opcode == WSFRAME_BINARY && m.bytes[0] == FRAME_ERROR) {
            struct err e = {0};
            own_json struct json *j = json_parse(m.bytes + 1, m.len - 1, &e);

            snprintf(text, sizeof(text), "%.*s", (int)m.len - 1,
                     (char *)m.bytes + 1);
            snprintf(found, sizeof(found), "%s", json_get_str(j, "code"));
        }
    } while (m.opcode != WSFRAME_CLOSE);
    if (strcmp(found, word ? word : "") != 0 || m.len < 2 ||
        (m.bytes[0] << 8 | m.bytes[1]) != code)
        fail_msg("not %s %d but close %d: %s", word ? word : "close", code,
                 m.len < 2 ? 0 : m.bytes[0] << 8 | m.bytes[1], text);
    wspeer_free(p);
}
