#include "tests/lib/wsbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct wsbed bed;

static void *opened(void *arg, struct ws_conn *c)
{
    bed.conn = c;
    bed.opened++;
    bed.tag = ws_conn_tag(c);
    return arg;
}

static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    (void)user;
    (void)bytes;
    bed.messages++;
    bed.last_len = len;
    bed.is_text = is_text;
}

static void drained(void *user)
{
    (void)user;
}

static void closed(void *user, int code, const char *reason)
{
    (void)user;
    (void)reason;
    bed.closed++;
    bed.code = code;
}

const struct ws_verbs bed_verbs = {opened, message, drained, closed};

static void request(void *arg, struct ws_request *r)
{
    (void)arg;
    bed.requests++;
    ws_respond(r, 200, NULL, 0, "asked", 5);
}

void bed_start(void)
{
    struct err e = {0};

    memset(&bed, 0, sizeof(bed));
    bed.loop = loop_new();
    bed.ws = ws_context_new(bed.loop, 256, &e);
    if (!bed.ws)
        fail_msg("%s", e.text);
}

void bed_stop(void)
{
    ws_server_free(bed.server);
    ws_context_free(bed.ws);
    loop_free(bed.loop);
}

struct ws_server_conf bed_conf(void)
{
    struct err e = {0};
    struct ws_server_conf conf = {
        .listen_fd = listen_tcp("127.0.0.1:0", false, &e),
        .ws_path = "/v1/attach",
        .subprotocol = SUB,
        .verbs = &bed_verbs,
        .request = request,
        .arg = &bed,
        .body_max = BED_BODY_MAX,
        .message_max = BED_MESSAGE_MAX,
    };

    if (conf.listen_fd < 0)
        fail_msg("%s", e.text);
    return conf;
}

void bed_serve(const struct ws_server_conf *conf)
{
    struct err e = {0};

    bed.server = ws_server_new(bed.ws, conf, &e);
    if (!bed.server)
        fail_msg("%s", e.text);
}

struct peer *bed_dial(void)
{
    return peer_dial(bed.loop, ws_server_port(bed.server));
}

struct peer *bed_attach(void)
{
    struct peer *p = bed_dial();

    peer_say(p, UP(""));
    assert_true(peer_wait(p, "\r\n\r\n", 2000));
    assert_non_null(strstr(p->in, "HTTP/1.1 101 "));
    peer_clear(p);
    return p;
}

void bed_frame(struct peer *p, int first, size_t len)
{
    static uint8_t payload[4 * BED_MESSAGE_MAX], out[sizeof(payload) + 16];

    assert_true(len <= sizeof(payload));
    memset(payload, 'x', sizeof(payload));
    peer_send(p, out, peer_frame(out, first, payload, len));
}
