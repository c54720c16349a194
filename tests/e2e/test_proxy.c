/*
 * Behind somebody else's proxy, which drops what is silent and cuts what
 * lives too long: haproxy with 10 s timeouts before the gateway.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "gateway/wsframe.h"
#include "tests/lib/lines.h"
#include "tests/lib/ports.h"
#include "tests/lib/stack.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PROXY "/usr/sbin/haproxy"
#define PROXY_UP_MS 5000
#define SILENT_MS 61000
#define CUTS 3
#define LIMIT_MS 2000 /* of the impatient proxy; less than between two pings */
#define CUT_MS 5000   /* from the proxy's last word to being attached again */

static struct stack *stack;
static int gateway_port, proxy_port, short_port;
static pid_t proxy;

/* --- the proxy --- */

static const char config[] =
    "global\n"
    "    hard-stop-after 200ms\n"
    "defaults\n"
    "    mode http\n"
    "    timeout connect 5s\n"
    "    timeout client 10s\n"
    "    timeout server 10s\n"
    "    timeout tunnel 10s\n"
    "listen gateway\n"
    "    bind 127.0.0.1:%d\n"
    "    http-request set-header Host 127.0.0.1:%d\n"
    "    http-request set-header X-Forwarded-For 203.0.113.9\n"
    "    server gateway 127.0.0.1:%d\n"
    "listen impatient\n"
    "    timeout tunnel 2s\n" /* LIMIT_MS */
    "    bind 127.0.0.1:%d\n"
    "    http-request set-header Host 127.0.0.1:%d\n"
    "    server gateway 127.0.0.1:%d\n";

static void proxy_start(void)
{
    own_mem char *path = mem_printf("%s/haproxy.cfg", stack->dir);
    own_mem char *addr = mem_printf("127.0.0.1:%d", proxy_port);
    char *argv[] = {"haproxy", "-db", "-f", path, NULL};
    struct proc_spawn how = {.path = PROXY,
                             .argv = argv,
                             .fd_count = 3,
                             .fds = (int[]){-1, -1, 2},
                             .death_signal = SIGKILL};
    int64_t until = loop_now_ms() + PROXY_UP_MS;
    struct wspeer *up;
    struct err e = {0};
    own_fd int fd = proc_spawn(&how, &proxy, &e);

    if (fd < 0)
        fail_msg("%s", e.text);
    while (!(up = wspeer_try_dial(addr))) {
        if (loop_now_ms() > until)
            fail_msg("haproxy does not listen");
        poll(NULL, 0, 10);
    }
    wspeer_free(up);
}

/* As at a reload: no new connection, and after hard-stop-after none. */
static void proxy_stop(int signum)
{
    if (proxy <= 0)
        return;
    kill(proxy, signum);
    waitpid(proxy, NULL, 0);
    proxy = 0;
}

static int setup(void **arg)
{
    own_mem char *text = NULL;

    (void)arg;
    setenv("PODTERM_TRUSTED_PROXIES", "127.0.0.1/32", 1);
    stack = stack_new(NULL);
    gateway_port = stack->attach_port;
    proxy_port = port_free();
    short_port = port_free();
    text = mem_printf(config, proxy_port, gateway_port, gateway_port,
                      short_port, gateway_port, gateway_port);
    tree_put(stack->dir, "haproxy.cfg", text);
    proxy_start();
    stack->attach_port = proxy_port;
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    proxy_stop(SIGKILL);
    stack->attach_port = gateway_port;
    stack_free(stack);
    return 0;
}

/* --- silence --- */

static void keep_text(void *arg, const uint8_t *p, size_t len)
{
    char *out = arg;
    size_t have = strlen(out);

    assert_true(have + len < 256);
    memcpy(out + have, p, len);
    out[have + len] = 0;
}

/* Answer pings, and expect nothing else but the agent's pongs, which the
 * gateway lets pass. Returns how many pings came. */
static int stay_silent(struct stack_link *l, int ms)
{
    int64_t until = loop_now_ms() + ms, left;
    struct wsmsg m;
    int pings = 0;

    while ((left = until - loop_now_ms()) > 0) {
        struct pollfd p = {l->peer->fd, POLLIN, 0};

        if (!l->peer->in_len && poll(&p, 1, (int)left) != 1)
            continue;
        if (!wspeer_recv(l->peer, &m))
            fail_msg("cut %lld ms before the end", (long long)left);
        if (m.opcode == WSFRAME_PONG)
            continue;
        assert_int_equal(m.opcode, WSFRAME_PING);
        wspeer_send(l->peer, WSFRAME_PONG, m.bytes, m.len);
        pings++;
    }
    return pings;
}

static void a_session_silent_for_a_minute_stays_up(void **arg)
{
    char text[256] = "";
    struct stack_bundle b;
    struct stack_session ss;
    struct stack_link l = {0};
    own_mem char *log = NULL, *path = NULL;
    size_t len;
    int pings;

    (void)arg;
    stack_pack(stack, "silent",
               "stty -echo; echo here; read -r line; echo \"got $line\"", &b);
    stack_create(stack, "ann", &b, "", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    while (!strstr(text, "here\r\n"))
        assert_true(stack_pump(&l, keep_text, text, true));
    pings = stay_silent(&l, SILENT_MS);
    print_message("%d pings in %d ms\n", pings, SILENT_MS);
    assert_in_range(pings, SILENT_MS / 10000, SILENT_MS / 5000);
    stack_type(&l, 0, "still\n", 6);
    while (!l.is_ended)
        assert_true(stack_pump(&l, keep_text, text, true));
    assert_string_equal(text, "here\r\ngot still\r\n");
    while (stack_pump(&l, NULL, NULL, true))
        ;
    stack_cut(&l);
    json_free(stack_wait(stack, "ann", ss.sid, "ended", 5000));
    /* the address the proxy told, since it is trusted */
    path = mem_printf("%s/state/log/gateway.log", stack->dir);
    log = tree_get(path, &len);
    assert_non_null(strstr(log, "\"ip\":\"203.0.113.9\""));
    stack_session_fini(&ss);
}

/* --- the limit --- */

static void take(void *arg, const uint8_t *p, size_t len)
{
    lines_take(arg, p, len);
}

/* Until so many lines have come. false: cut before. */
static bool read_on(struct stack_link *l, struct lines *lines, unsigned to)
{
    while (lines->last < to)
        if (!stack_pump(l, take, lines, true))
            return false;
    return true;
}

static void come_again(struct stack_session *ss, struct stack_link *l)
{
    int64_t until = loop_now_ms() + CUT_MS;

    stack_cut(l);
    for (;;) {
        own_mem char *token =
            stack_token(stack, ss->who, ss->sid, "owner", NULL);

        assert_non_null(token);
        if (stack_attach(stack, l, token, (int64_t)l->output, 0, 0))
            return;
        if (loop_now_ms() > until)
            fail_msg("not attached again (\"%s\")", l->error);
        poll(NULL, 0, 20);
    }
}

static void end_lines(struct stack_session *ss, struct stack_link *l,
                      struct lines *lines)
{
    assert_int_equal(stack_delete(stack, ss->who, ss->sid), 202);
    while (stack_pump(l, take, lines, true))
        ;
    assert_true(l->is_ended);
    stack_cut(l);
    json_free(stack_wait(stack, ss->who, ss->sid, "ended", 5000));
    stack_session_fini(ss);
}

static void a_connection_cut_by_its_proxy_resumes_byte_exact(void **arg)
{
    struct stack_bundle b;
    struct stack_session ss;
    struct stack_link l = {0};
    struct lines lines = {0};

    (void)arg;
    stack_pack(stack, "lines", LINES_LOOP, &b);
    stack_create(stack, "bob", &b, "", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    for (int i = 0; i < CUTS; i++) {
        assert_true(read_on(&l, &lines, lines.last + 50));
        proxy_stop(i == 0 ? SIGKILL : SIGUSR1);
        proxy_start();
        assert_false(read_on(&l, &lines, UINT32_MAX)); /* it was cut */
        come_again(&ss, &l);
    }
    assert_true(read_on(&l, &lines, lines.last + 50));
    end_lines(&ss, &l, &lines);
}

/* Lines, and then silence for longer than the proxy bears it. */
static const char pauses[] =
    "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; "
    "[ $((i % 50)) -ne 0 ] || sleep 5; done";

static void
a_connection_that_outlived_its_proxys_limit_resumes_byte_exact(void **arg)
{
    struct stack_bundle b;
    struct stack_session ss;
    struct stack_link l = {0};
    struct lines lines = {0};
    pid_t same = proxy;

    (void)arg;
    stack->attach_port = short_port;
    stack_pack(stack, "pauses", pauses, &b);
    stack_create(stack, "cat", &b, "", &ss);
    assert_true(stack_attach(stack, &l, ss.token, 0, 80, 24));
    for (int i = 0; i < CUTS; i++) {
        int64_t from = loop_now_ms();

        assert_false(read_on(&l, &lines, UINT32_MAX));
        /* the proxy's clock, and it is there still */
        assert_in_range(loop_now_ms() - from, LIMIT_MS * 9 / 10, 3 * LIMIT_MS);
        assert_int_equal(kill(same, 0), 0);
        come_again(&ss, &l);
    }
    assert_in_range(lines.last, 50, 150);
    while (!read_on(&l, &lines, 160))
        come_again(&ss, &l);
    end_lines(&ss, &l, &lines);
    stack->attach_port = proxy_port;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_cut_by_its_proxy_resumes_byte_exact),
        cmocka_unit_test(
            a_connection_that_outlived_its_proxys_limit_resumes_byte_exact),
        cmocka_unit_test(a_session_silent_for_a_minute_stays_up),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
