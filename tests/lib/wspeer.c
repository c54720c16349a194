#include "tests/lib/wspeer.h"

#include "base/addr.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/mem.h"
#include "gateway/upgrade.h"
#include "gateway/wsframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct wspeer *wspeer_of(int fd)
{
    struct wspeer *p = mem_zero(1, sizeof(*p));
    int one = 1;

    assert_true(fd >= 0);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    /* fails on a socketpair, where nothing waits anyway */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    p->fd = fd;
    return p;
}

struct wspeer *wspeer_dial(const char *addr, const char *from)
{
    struct sockaddr_storage to, local;
    struct err e = {0};
    int fd;

    assert_return_code(addr_parse(addr, &to, &e), 0);
    fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (from) {
        assert_return_code(addr_parse(from, &local, &e), 0);
        assert_return_code(
            bind(fd, (struct sockaddr *)&local, addr_len(&local)), errno);
    }
    assert_return_code(connect(fd, (struct sockaddr *)&to, addr_len(&to)),
                       errno);
    return wspeer_of(fd);
}

struct wspeer *wspeer_try_dial(const char *addr)
{
    struct sockaddr_storage to;
    struct err e = {0};
    struct wspeer *p;
    int fd;

    assert_return_code(addr_parse(addr, &to, &e), 0);
    fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, addr_len(&to)) < 0) {
        close(fd);
        return NULL;
    }
    p = wspeer_of(fd);
    p->may_die = true;
    return p;
}

void wspeer_free(struct wspeer *p)
{
    if (!p)
        return;
    tls_free(p->tls);
    close(p->fd);
    free(p->in);
    free(p);
}

void wspeer_reset(struct wspeer *p)
{
    struct linger now = {.l_onoff = 1};

    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    wspeer_free(p);
}

static bool wait_for(const struct wspeer *p, short events, int ms)
{
    struct pollfd pfd = {.fd = p->fd, .events = events};

    return poll(&pfd, 1, ms > 0 ? ms : 0) > 0;
}

bool wspeer_shake(struct wspeer *p)
{
    int64_t until = clock_ms() + WSPEER_MS;
    int rc;

    while ((rc = tls_handshake(p->tls)) == TLS_WANT_READ ||
           rc == TLS_WANT_WRITE)
        if (!wait_for(p, rc == TLS_WANT_READ ? POLLIN : POLLOUT,
                      (int)(until - clock_ms())))
            return false;
    return rc == 0;
}

size_t wspeer_try_write(struct wspeer *p, const void *bytes, size_t len, int ms)
{
    const uint8_t *at = bytes;
    size_t done = 0;

    while (done < len) {
        ssize_t n = p->tls ? tls_write(p->tls, at + done, len - done)
                           : send(p->fd, at + done, len - done, MSG_NOSIGNAL);

        if (n > 0)
            done += (size_t)n;
        else if (p->tls ? n != TLS_WANT_WRITE : errno != EAGAIN)
            break;
        else if (!wait_for(p, POLLOUT, ms))
            break;
    }
    return done;
}

void wspeer_write(struct wspeer *p, const void *bytes, size_t len)
{
    size_t done = wspeer_try_write(p, bytes, len, WSPEER_MS);

    if (!p->may_die)
        assert_int_equal(done, len);
}

void wspeer_puts(struct wspeer *p, const char *text)
{
    wspeer_write(p, text, strlen(text));
}

int wspeer_more(struct wspeer *p, int ms)
{
    uint8_t chunk[65536];
    int64_t until = clock_ms() + ms;

    for (;;) {
        ssize_t n = p->tls ? tls_read(p->tls, chunk, sizeof(chunk))
                           : recv(p->fd, chunk, sizeof(chunk), 0);

        if (n > 0) {
            p->in = mem_resize(p->in, p->in_len + (size_t)n, 1);
            memcpy(p->in + p->in_len, chunk, (size_t)n);
            p->in_len += (size_t)n;
            return (int)n;
        }
        if (p->tls ? n != TLS_WANT_READ && n != TLS_WANT_WRITE
                   : n == 0 || errno != EAGAIN)
            return -1;
        if (!wait_for(p, POLLIN, (int)(until - clock_ms())))
            return 0;
    }
}

static void take(struct wspeer *p, size_t len)
{
    memmove(p->in, p->in + len, p->in_len - len);
    p->in_len -= len;
}

int wspeer_patience_ms = WSPEER_MS;

/* As wspeer_more; time running out fails the test. */
static bool more(struct wspeer *p)
{
    int n = wspeer_more(p, wspeer_patience_ms);

    if (n == 0)
        fail_msg("nothing came within %d ms", wspeer_patience_ms);
    return n > 0;
}

char *wspeer_head(struct wspeer *p)
{
    for (;;) {
        char *end = p->in_len ? memmem(p->in, p->in_len, "\r\n\r\n", 4) : NULL;

        if (end) {
            size_t len = (size_t)(end - (char *)p->in) + 4;
            char *head = mem_strn((char *)p->in, len);

            take(p, len);
            return head;
        }
        if (!more(p))
            return NULL;
    }
}

bool wspeer_ends(struct wspeer *p, int ms)
{
    int64_t until = clock_ms() + ms;

    while (clock_ms() < until) {
        int n = wspeer_more(p, (int)(until - clock_ms()));

        if (n < 0)
            return true;
        p->in_len = 0;
    }
    return false;
}

void wspeer_send(struct wspeer *p, uint8_t opcode, const void *bytes,
                 size_t len)
{
    static const uint8_t mask[4] = {0xa1, 0xb2, 0xc3, 0xd4};
    uint8_t *frame = mem_zero(len + WSFRAME_HEAD_MAX, 1);
    size_t n = wsframe_write(frame, opcode, len, p->is_agent ? NULL : mask);

    if (len)
        memcpy(frame + n, bytes, len);
    if (!p->is_agent)
        wsframe_mask(frame + n, len, mask);
    wspeer_write(p, frame, n + len);
    free(frame);
}

void wspeer_binary(struct wspeer *p, uint8_t type, const char *body)
{
    char *text = mem_printf("%c%s", type, body);

    wspeer_send(p, WSFRAME_BINARY, text, strlen(body) + 1);
    free(text);
}

bool wspeer_recv(struct wspeer *p, struct wsmsg *out)
{
    static uint8_t *kept;
    struct wsframe f;
    int rc;

    /* continuations are read as the frames they are */
    while ((rc = wsframe_read(p->in, p->in_len, p->is_agent,
                              p->in_len && (p->in[0] & 0x0f) == 0, &f)) ==
               WSFRAME_MORE ||
           (rc == 0 && p->in_len - f.head_len < f.len))
        if (!more(p))
            return false;
    assert_int_equal(rc, 0);
    free(kept);
    kept = mem_zero((size_t)f.len + 1, 1);
    memcpy(kept, p->in + f.head_len, (size_t)f.len);
    wsframe_mask(kept, (size_t)f.len, f.mask);
    take(p, f.head_len + (size_t)f.len);
    *out = (struct wsmsg){f.opcode, f.is_final, kept, (size_t)f.len};
    return true;
}

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

void wspeer_ask(struct wspeer *p, const char *host, const char *extra)
{
    char *text = mem_printf(
        "GET " UPGRADE_PATH " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: " FRAME_SUBPROTOCOL "\r\n%s\r\n",
        host, extra);

    wspeer_puts(p, text);
    free(text);
}

void wspeer_upgrade(struct wspeer *p, const char *host, const char *extra)
{
    char accept[UPGRADE_ACCEPT_LEN + 1], *head;
    const char *why;
    int status;

    wspeer_ask(p, host, extra);
    head = wspeer_head(p);
    assert_non_null(head);
    upgrade_accept(KEY, accept);
    why = upgrade_answer(head, strlen(head), accept, &status);
    if (why)
        fail_msg("%s: %s", why, head);
    free(head);
}

bool wspeer_try_upgrade(struct wspeer *p, const char *host)
{
    char accept[UPGRADE_ACCEPT_LEN + 1], *head;
    const char *why;
    int status;

    wspeer_ask(p, host, "");
    head = wspeer_head(p);
    if (!head)
        return false;
    upgrade_accept(KEY, accept);
    why = upgrade_answer(head, strlen(head), accept, &status);
    free(head);
    return why == NULL;
}

void wspeer_answer(struct wspeer *p)
{
    char text[UPGRADE_TEXT_MAX], *head = wspeer_head(p);
    struct upgrade u;

    assert_non_null(head);
    assert_int_equal(upgrade_parse(head, strlen(head), &u), 0);
    assert_true(u.is_websocket && u.has_subprotocol);
    assert_true(http_text_is(u.path, UPGRADE_PATH));
    wspeer_write(p, text, upgrade_write_101(u.key.at, text));
    free(head);
}

void wspeer_closed(struct wspeer *p, int code)
{
    struct wsmsg m;

    do {
        if (!wspeer_recv(p, &m))
            fail_msg("the connection ended without a close frame");
    } while (m.opcode == WSFRAME_PING ||
             (m.opcode == WSFRAME_BINARY && m.bytes[0] == FRAME_STAGE));
    if (m.opcode != WSFRAME_CLOSE)
        fail_msg("opcode %d: %.*s", m.opcode, (int)m.len, (char *)m.bytes);
    assert_int_equal(m.len, 2);
    assert_int_equal(m.bytes[0] << 8 | m.bytes[1], code);
    assert_true(wspeer_ends(p, WSPEER_MS));
}

char *wspeer_refused(struct wspeer *p, const char *word, int code)
{
    struct err e = {0};
    struct json *j;
    struct wsmsg m;
    char *text;

    do {
        if (!wspeer_recv(p, &m))
            fail_msg("the connection ended without ERROR %s", word);
    } while (m.opcode == WSFRAME_PING ||
             (m.opcode == WSFRAME_BINARY && m.bytes[0] == FRAME_STAGE));
    if (m.opcode != WSFRAME_BINARY || m.bytes[0] != FRAME_ERROR)
        fail_msg("opcode %d, %zu bytes: %.*s", m.opcode, m.len, (int)m.len,
                 (char *)m.bytes);
    text = mem_strn((char *)m.bytes + 1, m.len - 1);
    j = json_parse(text, strlen(text), &e);
    assert_non_null(j);
    if (strcmp(json_get_str(j, "code"), word) != 0)
        fail_msg("not %s, but: %s", word, text);
    assert_true(strlen(json_get_str(j, "message")) > 5);
    json_free(j);
    wspeer_closed(p, code);
    return text;
}

void wspeer_fill(uint8_t *m, size_t len, uint32_t number)
{
    m[0] = FRAME_OUTPUT;
    for (size_t i = 1; i < len; i++)
        m[i] = (uint8_t)((number * 2654435761u + i * 40503u) >> 7);
}

void wspeer_send_numbered(struct wspeer *p, uint32_t number, size_t len)
{
    uint8_t *m = mem_zero(len, 1);

    wspeer_fill(m, len, number);
    wspeer_send(p, WSFRAME_BINARY, m, len);
    free(m);
}

void wspeer_expect_numbered(struct wspeer *p, uint32_t number, size_t len)
{
    uint8_t *want = mem_zero(len, 1);
    struct wsmsg m;

    do {
        assert_true(wspeer_recv(p, &m));
    } while (m.opcode == WSFRAME_PING || m.opcode == WSFRAME_PONG);
    wspeer_fill(want, len, number);
    assert_int_equal(m.opcode, WSFRAME_BINARY);
    assert_int_equal(m.len, len);
    assert_memory_equal(m.bytes, want, len);
    free(want);
}
