#include "tests/lib/rivals.h"

#include "base/frame.h"
#include "base/mem.h"
#include "base/own.h"
#include "gateway/wsframe.h"
#include "tests/lib/certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RIVAL_DIALS 500 /* 10 ms apart */
#define RIVAL_READ_MS 20000
#define CHAIN_START_MS 500
#define ACK_EVERY 65536 /* bytes of output per OUTPUT_ACK */

int rival_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

int rival_dial(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    int one = 1;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < RIVAL_DIALS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            return fd;
        }
        close(fd);
        poll(NULL, 0, 10);
    }
    fail_msg("nobody listens on port %d", port);
    return -1;
}

static pid_t rival_start(char *const argv[])
{
    pid_t pid = fork();
    int null_fd;

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* its children end with it: wire_end */
    null_fd = open("/dev/null", O_RDWR);
    dup2(null_fd, 0);
    dup2(null_fd, 1);
    dup2(null_fd, 2);
    execvp(argv[0], argv);
    _exit(127);
}

void wire_socat(struct wire *w, const char *cmd)
{
    int port = rival_port();
    own_mem char *listen =
        mem_printf("TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,nodelay", port);
    own_mem char *exec = mem_printf("SYSTEM:%s,pty,rawer,echo=0", cmd);
    char *argv[] = {"socat", listen, exec, NULL};

    *w = (struct wire){.server = rival_start(argv)};
    w->fd = rival_dial(port);
}

static void chain_files(const char *dir, int port, int behind)
{
    own_mem char *conf = mem_printf("%s/chain.cfg", dir);
    own_mem char *join =
        mem_printf("cat %s/chain.pem %s/chain.key >%s/both.pem", dir, dir, dir);
    FILE *f = fopen(conf, "w");

    certs_make(dir, "chain", "DNS:localhost");
    assert_int_equal(system(join), 0);
    assert_non_null(f);
    fprintf(f,
            "global\n nbthread 1\n maxconn 100\n"
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n"
            " timeout server 1h\n"
            "frontend f\n bind 127.0.0.1:%d\n default_backend b\n"
            "backend b\n server s 127.0.0.1:%d ssl verify none "
            "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_256_GCM_SHA384\n",
            port, behind);
    fclose(f);
}

void wire_chain(struct wire *w, const char *dir, const char *cmd)
{
    int port = rival_port(), behind = rival_port();
    own_mem char *listen =
        mem_printf("OPENSSL-LISTEN:%d,bind=127.0.0.1,reuseaddr,nodelay,"
                   "cert=%s/both.pem,verify=0",
                   behind, dir);
    own_mem char *exec = mem_printf("SYSTEM:%s,pty,rawer,echo=0", cmd);
    own_mem char *conf = mem_printf("%s/chain.cfg", dir);
    char *socat[] = {"socat", listen, exec, NULL};
    char *haproxy[] = {"haproxy", "-db", "-q", "-f", conf, NULL};

    chain_files(dir, port, behind);
    *w = (struct wire){.server = rival_start(socat)};
    poll(NULL, 0, CHAIN_START_MS); /* it takes one connection: no trying */
    w->front = rival_start(haproxy);
    w->fd = rival_dial(port);
}

/* --- ttyd: its own subprotocol, type bytes in ASCII --- */

bool rival_has_ttyd(void)
{
    static int known = -1;

    if (known < 0)
        known = system("command -v ttyd >/dev/null 2>&1") == 0;
    return known;
}

static void wire_send(struct wire *w, const void *bytes, size_t len)
{
    static const uint8_t mask[4] = {0x21, 0x43, 0x65, 0x87};
    uint8_t frame[WSFRAME_HEAD_MAX + 256];
    size_t n = wsframe_write(frame, WSFRAME_BINARY, len, mask);

    assert_true(len <= 256);
    memcpy(frame + n, bytes, len);
    wsframe_mask(frame + n, len, mask);
    assert_int_equal(send(w->fd, frame, n + len, MSG_NOSIGNAL), n + len);
}

static void ttyd_upgrade(struct wire *w, int port)
{
    static const char hello[] = "{\"AuthToken\":\"\",\"columns\":80,"
                                "\"rows\":24}";
    char text[1024];
    size_t have = 0;

    snprintf(text, sizeof(text),
             "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Protocol: tty\r\n\r\n",
             port);
    assert_true(send(w->fd, text, strlen(text), MSG_NOSIGNAL) > 0);
    do {
        assert_int_equal(recv(w->fd, text + have, 1, 0), 1);
        text[++have] = 0;
    } while (have < sizeof(text) - 1 && !strstr(text, "\r\n\r\n"));
    assert_memory_equal(text, "HTTP/1.1 101", 12);
    wire_send(w, hello, sizeof(hello) - 1);
}

void wire_ttyd(struct wire *w, const char *cmd)
{
    char port[16];
    int number = rival_port();
    char *argv[] = {"ttyd", "-W", "-i", "127.0.0.1", "-p",
                    port,   "sh", "-c", (char *)cmd, NULL};

    snprintf(port, sizeof(port), "%d", number);
    *w = (struct wire){.server = rival_start(argv), .is_framed = true};
    w->fd = rival_dial(number);
    ttyd_upgrade(w, number);
}

/* --- podterm --- */

void wire_podterm(struct wire *w, struct stack_link *l)
{
    *w = (struct wire){.fd = l->peer->fd,
                       .link = l,
                       .is_framed = true,
                       .output = l->output,
                       .acked = l->output,
                       .typed = l->input_acked,
                       .have = l->peer->in_len};
    assert_true(w->have <= sizeof(w->buf));
    if (w->have)
        memcpy(w->buf, l->peer->in, w->have);
    l->peer->in_len = 0;
    fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) & ~O_NONBLOCK);
}

static void wire_ack(struct wire *w)
{
    uint8_t msg[FRAME_HEAD_MAX];

    w->acked = w->output;
    wire_send(w, msg, frame_head_offset(msg, FRAME_OUTPUT_ACK, w->output));
}

static void wire_told(struct wire *w, const struct wsframe *f,
                      const uint8_t *body)
{
    struct frame m;

    if (f->opcode == WSFRAME_PING) {
        uint8_t pong[WSFRAME_HEAD_MAX] = {0};
        size_t n = wsframe_write(pong, WSFRAME_PONG, 0, pong + 10);

        assert_int_equal(send(w->fd, pong, n, MSG_NOSIGNAL), n);
        return;
    }
    if (f->opcode != WSFRAME_BINARY || !w->link ||
        frame_parse(body, (size_t)f->len, false, &m) < 0)
        return;
    if (m.type == FRAME_INPUT_ACK)
        w->link->input_acked = m.offset;
    if (m.type == FRAME_EXIT)
        w->link->is_ended = true;
}

/* A frame's beginning at `at`: bytes taken; 0 = more must come. *out: bytes of
 * terminal output that follow. */
static size_t wire_frame(struct wire *w, const uint8_t *at, size_t len,
                         size_t *out)
{
    const size_t head = w->link ? FRAME_HEAD_MAX : 1;
    const uint8_t type = w->link ? FRAME_OUTPUT : '0';
    struct wsframe f;
    int rc = wsframe_read(at, len, false, false, &f);

    *out = 0;
    if (rc == WSFRAME_MORE || len < f.head_len + (size_t)(f.len > 0))
        return 0;
    assert_int_equal(rc, 0);
    if (f.opcode == WSFRAME_BINARY && f.len && at[f.head_len] == type) {
        if (len < f.head_len + head)
            return 0;
        *out = (size_t)f.len - head;
        return f.head_len + head;
    }
    if (len < f.head_len + f.len)
        return 0;
    wire_told(w, &f, at + f.head_len);
    return f.head_len + (size_t)f.len;
}

static size_t wire_walk(struct wire *w)
{
    size_t at = 0, got = 0;

    for (;;) {
        size_t step = w->have - at, taken;

        if (step > w->skip)
            step = w->skip;
        at += step;
        got += step;
        w->skip -= step;
        if (w->skip || at == w->have)
            break;
        taken = wire_frame(w, w->buf + at, w->have - at, &w->skip);
        if (!taken)
            break;
        at += taken;
    }
    memmove(w->buf, w->buf + at, w->have - at);
    w->have -= at;
    return got;
}

ssize_t wire_read(struct wire *w)
{
    struct pollfd pfd = {.fd = w->fd, .events = POLLIN};
    size_t got = 0;
    ssize_t n;

    if (w->is_framed && w->have) /* what came with READY */
        got = wire_walk(w);
    if (!got) {
        if (poll(&pfd, 1, RIVAL_READ_MS) == 0)
            fail_msg("nothing came within %d ms", RIVAL_READ_MS);
        n = recv(w->fd, w->buf + w->have, sizeof(w->buf) - w->have, 0);
        if (n <= 0)
            return -1;
        got = (size_t)n;
        if (w->is_framed) {
            w->have += got;
            got = wire_walk(w);
        }
    }
    w->output += got;
    if (w->link && w->output - w->acked >= ACK_EVERY)
        wire_ack(w);
    return (ssize_t)got;
}

void wire_key(struct wire *w, char key)
{
    uint8_t msg[FRAME_HEAD_MAX + 1] = {'0', (uint8_t)key};
    size_t n = 2;

    if (!w->is_framed) {
        assert_int_equal(send(w->fd, &key, 1, MSG_NOSIGNAL), 1);
        return;
    }
    if (w->link) {
        if (w->output > w->acked)
            wire_ack(w);
        n = frame_head_offset(msg, FRAME_INPUT, w->typed++);
        msg[n++] = (uint8_t)key;
    }
    wire_send(w, msg, n);
}

void wire_let_go(struct wire *w)
{
    while (!w->link->is_ended)
        if (wire_read(w) < 0)
            fail_msg("the connection ended before EXIT");
    wire_ack(w);
    while (wire_read(w) >= 0)
        continue;
}

void wire_end(struct wire *w)
{
    if (w->link) {
        if (w->link->peer)
            wspeer_free(w->link->peer);
        w->link->peer = NULL;
        return;
    }
    close(w->fd);
    for (int i = 0; i < 2; i++) {
        pid_t pid = i ? w->front : w->server;

        if (pid <= 0)
            continue;
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}
