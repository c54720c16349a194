#include "gateway/upgrade.h"

#include "base/digest.h"
#include "base/frame.h"

#include <stdio.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */
#define TARGET_MAX 1024                             /* bytes of a target */
#define HOST_MAX 255

/* The headers that mean something here; any other is skipped. */
enum field {
    FIELD_HOST,
    FIELD_UPGRADE,
    FIELD_CONNECTION,
    FIELD_KEY,
    FIELD_VERSION,
    FIELD_PROTOCOL,
    FIELD_ACCEPT,
    FIELD_EXTENSIONS,
    FIELD_ORIGIN,
    FIELD_FORWARDED,
    FIELD_LENGTH,
    FIELD_ENCODING,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_HOST] = "host",
    [FIELD_UPGRADE] = "upgrade",
    [FIELD_CONNECTION] = "connection",
    [FIELD_KEY] = "sec-websocket-key",
    [FIELD_VERSION] = "sec-websocket-version",
    [FIELD_PROTOCOL] = "sec-websocket-protocol",
    [FIELD_ACCEPT] = "sec-websocket-accept",
    [FIELD_EXTENSIONS] = "sec-websocket-extensions",
    [FIELD_ORIGIN] = "origin",
    [FIELD_FORWARDED] = "x-forwarded-for",
    [FIELD_LENGTH] = "content-length",
    [FIELD_ENCODING] = "transfer-encoding",
};

/* One header line into its slot. -1: malformed, folded, or ours and twice. */
static int field_take(struct http_text line,
                      struct http_text slots[FIELD_COUNT])
{
    struct http_text name, value;

    if (http_field_take(line, &name, &value) < 0)
        return -1;
    for (int f = 0; f < FIELD_COUNT; f++) {
        if (!http_text_is(name, field_names[f]))
            continue;
        if (slots[f].at)
            return -1;
        slots[f] = value;
        return 0;
    }
    return 0;
}

/* Every line up to the empty one, which must be the last. */
static int fields_take(struct http_text rest,
                       struct http_text slots[FIELD_COUNT])
{
    struct http_text line;

    while (http_line_take(&rest, &line)) {
        if (line.len == 0)
            return rest.len == 0 ? 0 : -1;
        if (field_take(line, slots) < 0)
            return -1;
    }
    return -1;
}

/* 16 bytes in padded base64, the unused bits zero. */
static bool is_key(struct http_text t)
{
    if (t.len != UPGRADE_KEY_LEN || memcmp(t.at + 22, "==", 2) != 0 ||
        !memchr("AQgw", t.at[21], 4))
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = t.at[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
              (c >= 'A' && c <= 'Z') || c == '+' || c == '/'))
            return false;
    }
    return true;
}

static bool is_host(struct http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        char c = t.at[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
              (c >= 'A' && c <= 'Z') || (c && strchr(".-_:[]", c))))
            return false;
    }
    return t.len > 0 && t.len <= HOST_MAX;
}

/* "GET /path?query HTTP/1.1" */
static int request_line(struct http_text line, struct upgrade *out)
{
    const char *sp = memchr(line.at, ' ', line.len);
    const char *end = line.at + line.len, *target, *query;
    struct http_text method, rest;

    if (!sp)
        return 400;
    method = (struct http_text){line.at, (size_t)(sp - line.at)};
    target = sp + 1;
    sp = memchr(target, ' ', (size_t)(end - target));
    if (!sp || !http_text_is_token(method))
        return 400;
    rest = (struct http_text){sp + 1, (size_t)(end - sp) - 1};
    if (rest.len != 8 || memcmp(rest.at, "HTTP/", 5) != 0)
        return 400;
    rest = (struct http_text){target, (size_t)(sp - target)};
    if (!http_text_is_visible(rest) || rest.at[0] != '/' ||
        rest.len > TARGET_MAX || memchr(rest.at, '#', rest.len))
        return 400;
    if (memcmp(sp + 1, "HTTP/1.1", 8) != 0)
        return 505;
    if (method.len != 3 || memcmp(method.at, "GET", 3) != 0)
        return 405;
    query = memchr(rest.at, '?', rest.len);
    out->has_query = query != NULL;
    out->path = rest;
    if (query)
        out->path.len = (size_t)(query - rest.at);
    return 0;
}

/* All that makes a request a WebSocket upgrade, or none of it. */
static int upgrade_judge(const struct http_text f[FIELD_COUNT],
                         struct upgrade *out)
{
    int has = 0;

    if (!f[FIELD_UPGRADE].at && !f[FIELD_KEY].at && !f[FIELD_VERSION].at &&
        !f[FIELD_PROTOCOL].at)
        return 0;
    if (!http_text_is(f[FIELD_UPGRADE], "websocket") ||
        !f[FIELD_CONNECTION].at || !f[FIELD_KEY].at || !f[FIELD_VERSION].at)
        return 400;
    if (http_list_has(f[FIELD_CONNECTION], "upgrade", false) != 1 ||
        !is_key(f[FIELD_KEY]))
        return 400;
    if (!http_text_is(f[FIELD_VERSION], "13"))
        return 426;
    if (f[FIELD_PROTOCOL].at)
        has = http_list_has(f[FIELD_PROTOCOL], FRAME_SUBPROTOCOL, true);
    if (has < 0)
        return 400;
    out->has_subprotocol = has == 1;
    out->key = f[FIELD_KEY];
    out->is_websocket = true;
    return 0;
}

int upgrade_parse(const char *head, size_t len, struct upgrade *out)
{
    struct http_text f[FIELD_COUNT] = {{0}};
    struct http_text rest = {head, len}, line;
    struct upgrade u = {0};
    int status;

    if (!http_line_take(&rest, &line))
        return 400;
    status = request_line(line, &u);
    if (status)
        return status;
    if (fields_take(rest, f) < 0)
        return 400;
    if (!f[FIELD_HOST].at || !is_host(f[FIELD_HOST]))
        return 400;
    if (f[FIELD_LENGTH].at || f[FIELD_ENCODING].at || f[FIELD_ACCEPT].at)
        return 400;
    if (f[FIELD_ORIGIN].at && !http_text_is_visible(f[FIELD_ORIGIN]))
        return 400;
    status = upgrade_judge(f, &u);
    if (status)
        return status;
    u.host = f[FIELD_HOST];
    u.origin = f[FIELD_ORIGIN];
    u.forwarded = f[FIELD_FORWARDED];
    *out = u;
    return 0;
}

/* "HTTP/1.1 101 Switching Protocols": the number, or 0. */
static int status_line(struct http_text line)
{
    int status = 0;

    if (line.len < 12 || memcmp(line.at, "HTTP/1.1 ", 9) != 0 ||
        (line.len > 12 && line.at[12] != ' '))
        return 0;
    for (int i = 9; i < 12; i++) {
        if (line.at[i] < '0' || line.at[i] > '9')
            return 0;
        status = status * 10 + (line.at[i] - '0');
    }
    return status >= 100 ? status : 0;
}

const char *upgrade_answer(const char *head, size_t len,
                           const char accept[UPGRADE_ACCEPT_LEN], int *status)
{
    struct http_text f[FIELD_COUNT] = {{0}};
    struct http_text rest = {head, len}, line;

    *status = 0;
    if (!http_line_take(&rest, &line))
        return "no status line";
    *status = status_line(line);
    if (!*status)
        return "a status line that is none";
    if (fields_take(rest, f) < 0)
        return "a malformed or repeated header";
    if (*status != 101)
        return "a status other than 101";
    if (!http_text_is(f[FIELD_UPGRADE], "websocket") ||
        !f[FIELD_CONNECTION].at ||
        http_list_has(f[FIELD_CONNECTION], "upgrade", false) != 1)
        return "a 101 to something else than websocket";
    if (f[FIELD_ACCEPT].len != UPGRADE_ACCEPT_LEN ||
        memcmp(f[FIELD_ACCEPT].at, accept, UPGRADE_ACCEPT_LEN) != 0)
        return "a wrong Sec-WebSocket-Accept";
    if (f[FIELD_PROTOCOL].len != strlen(FRAME_SUBPROTOCOL) ||
        memcmp(f[FIELD_PROTOCOL].at, FRAME_SUBPROTOCOL,
               strlen(FRAME_SUBPROTOCOL)) != 0)
        return "another subprotocol";
    if (f[FIELD_EXTENSIONS].at || f[FIELD_LENGTH].at || f[FIELD_ENCODING].at)
        return "an extension or a body nobody asked for";
    return NULL;
}

void upgrade_accept(const char key[UPGRADE_KEY_LEN],
                    char out[UPGRADE_ACCEPT_LEN + 1])
{
    char text[UPGRADE_KEY_LEN + sizeof(GUID) - 1];
    uint8_t sum[SHA1_BYTES];

    memcpy(text, key, UPGRADE_KEY_LEN);
    memcpy(text + UPGRADE_KEY_LEN, GUID, sizeof(GUID) - 1);
    sha1(text, sizeof(text), sum);
    base64_encode(sum, sizeof(sum), out);
}

size_t upgrade_write_101(const char key[UPGRADE_KEY_LEN],
                         char out[UPGRADE_TEXT_MAX])
{
    char accept[UPGRADE_ACCEPT_LEN + 1];

    upgrade_accept(key, accept);
    return (size_t)snprintf(out, UPGRADE_TEXT_MAX,
                            "HTTP/1.1 101 Switching Protocols\r\n"
                            "Upgrade: websocket\r\n"
                            "Connection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %s\r\n"
                            "Sec-WebSocket-Protocol: " FRAME_SUBPROTOCOL
                            "\r\n\r\n",
                            accept);
}

size_t upgrade_write_request(const char key[UPGRADE_KEY_LEN],
                             char out[UPGRADE_TEXT_MAX])
{
    return (size_t)snprintf(out, UPGRADE_TEXT_MAX,
                            "GET " UPGRADE_PATH " HTTP/1.1\r\n"
                            "Host: agent.invalid\r\n"
                            "Upgrade: websocket\r\n"
                            "Connection: Upgrade\r\n"
                            "Sec-WebSocket-Key: %.*s\r\n"
                            "Sec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Protocol: " FRAME_SUBPROTOCOL
                            "\r\n\r\n",
                            UPGRADE_KEY_LEN, key);
}
