#include "tests/lib/wsends.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct wsends both;

static void *opened(void *arg, struct ws_conn *c)
{
    struct wsend *e = arg == &both ? &both.server : arg;
    const char *text;

    e->conn = c;
    e->opened++;
    text = ws_conn_header(c, "origin");
    snprintf(e->origin, sizeof(e->origin), "%s", text ? text : "-");
    text = ws_conn_header(c, "authorization");
    snprintf(e->authorization, sizeof(e->authorization), "%s",
             text ? text : "-");
    return e->refuse ? NULL : e;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    struct wsend *e = user;

    e->messages++;
    e->total += len;
    e->is_text = is_text;
    free(e->last);
    e->last = mem_copy(bytes, len);
    e->last_len = len;
    if (e->echo)
        ws_send(e->conn, bytes, len);
}

static void drained(void *user)
{
    static uint8_t room[WS_PRE + 65545];
    struct wsend *e = user;

    e->drains++;
    if (!e->to_write)
        return;
    for (size_t i = 0; i < e->write_len; i++)
        room[WS_PRE + i] = (uint8_t)(i * 7 + (size_t)e->to_write);
    assert_int_equal(ws_write(e->conn, room + WS_PRE, e->write_len), 0);
    if (--e->to_write)
        ws_want_write(e->conn);
}

static void closed(void *user, int code, const char *reason)
{
    struct wsend *e = user;

    e->closed++;
    e->code = code;
    snprintf(e->reason, sizeof(e->reason), "%s", reason);
    e->conn = NULL;
}

static const struct ws_verbs verbs = {opened, message, drained, closed};

int both_start(void **state)
{
    (void)state;
    memset(&both, 0, sizeof(both));
    bed_start();
    return 0;
}

int both_stop(void **state)
{
    (void)state;
    bed_stop();
    free(both.server.last);
    free(both.client.last);
    return 0;
}

struct ws_server_conf both_conf(void)
{
    struct ws_server_conf conf = bed_conf();

    conf.verbs = &verbs;
    conf.arg = &both;
    conf.message_max = BOTH_MESSAGE_MAX;
    return conf;
}

struct ws_dial_conf both_dial_conf(void)
{
    static struct sockaddr_in at;

    at = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port =
                                  htons((uint16_t)ws_server_port(bed.server)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return (struct ws_dial_conf){
        .addr = (struct sockaddr *)&at,
        .addr_len = sizeof(at),
        .host = "localhost",
        .path = "/v1/attach",
        .subprotocol = SUB,
        .verbs = &verbs,
        .arg = &both.client,
        .message_max = BOTH_MESSAGE_MAX,
    };
}

void both_dial(const struct ws_dial_conf *conf)
{
    struct err e = {0};

    both.client.conn = ws_dial(bed.ws, conf, &e);
    if (!both.client.conn)
        fail_msg("%s", e.text);
}

bool both_are_open(void *unused)
{
    (void)unused;
    return both.server.opened && both.client.opened;
}

bool both_are_closed(void *unused)
{
    (void)unused;
    return both.server.closed && both.client.closed;
}

bool client_is_closed(void *unused)
{
    (void)unused;
    return both.client.closed;
}

bool client_has_message(void *unused)
{
    (void)unused;
    return both.client.messages > 0;
}

bool server_has_message(void *unused)
{
    (void)unused;
    return both.server.messages > 0;
}

void both_open(void)
{
    const struct ws_server_conf conf = both_conf();
    struct ws_dial_conf d;

    bed_serve(&conf);
    d = both_dial_conf();
    both_dial(&d);
    assert_true(run_until(bed.loop, both_are_open, NULL, 3000));
}

bool wsend_has(void *count)
{
    struct wsend_count *c = count;

    return c->end->messages >= c->messages;
}

void wsend_check_last(const struct wsend *e, size_t len, int number)
{
    assert_int_equal(e->last_len, len);
    for (size_t i = 0; i < len; i++)
        if (e->last[i] != (uint8_t)(i * 7 + (size_t)number))
            fail_msg("byte %zu", i);
}
