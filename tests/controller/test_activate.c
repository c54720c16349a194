/*
 * A warm agent is told its session, by the controller's own caller: what each
 * answer means, and that an answer lost on the way is no loss.
 */
#include "controller/activate.h"

#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/ws.h"
#include "tests/lib/agentbox.h"

#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 10000

static struct agentbox *box;
static struct activate what;
static struct err e;
static pid_t helper; /* who stands in for an agent, or between */

static int setup(void **arg)
{
    (void)arg;
    box = agentbox_new_warm("echo ready; cat", NULL, 3600);
    agentbox_start_shim(box);
    e = (struct err){0};
    what = (struct activate){.addr = box->addr,
                             .pod_uid = AGENTBOX_POD,
                             .pool_psk_id = box->pool_id,
                             .pool_key = box->pool_key,
                             .signer = box->signer,
                             .iss = AGENTBOX_ISSUER,
                             .spec = box->spec,
                             .key = box->key,
                             .deadline_ms = SOON_MS};
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    if (helper) {
        kill(helper, SIGKILL);
        waitpid(helper, NULL, 0);
    }
    helper = 0;
    agentbox_free(box);
    return 0;
}

static void sent(enum err_kind want)
{
    int r = activate_send(&what, &e);

    if ((r == 0) != (want == ERR_NONE) || e.kind != want)
        fail_msg("wanted %s, got %d %s \"%s\"", err_word(want), r,
                 err_word(e.kind), e.text);
}

static void works(void)
{
    struct agentlink *l = agentlink_new(box, ROLE_OWNER, 0);

    agentlink_expect(l, "ready", SOON_MS);
    agentlink_free(l);
}

static void the_pod_becomes_the_sessions(void **arg)
{
    (void)arg;
    sent(ERR_NONE);
    works();
}

static void a_pod_that_has_a_session_is_told_as_taken(void **arg)
{
    own_json struct json *spec = json_parse(box->spec, strlen(box->spec), &e);
    own_mem char *other = NULL;
    uint8_t key[SESSION_KEY_BYTES];
    char id[ID_SIZE];

    (void)arg;
    sent(ERR_NONE);
    sent(ERR_CONFLICT); /* the same session, but another token */
    random_id(id);
    json_set_str(spec, "sid", id);
    random_id(id);
    json_set_str(spec, "psk_id", id);
    random_bytes(key, sizeof(key));
    other = json_text(spec);
    what.spec = other;
    what.key = key;
    sent(ERR_CONFLICT);
    works();
}

static void what_the_agent_refuses_is_denied(void **arg)
{
    own_json struct json *spec = json_parse(box->spec, strlen(box->spec), &e);
    own_mem char *less = NULL;

    (void)arg;
    what.pod_uid = "another-pod";
    sent(ERR_DENIED);
    what.pod_uid = AGENTBOX_POD;
    json_drop(spec, "bundle");
    less = json_text(spec);
    what.spec = less;
    sent(ERR_DENIED);
    what.spec = box->spec;
    e = (struct err){0};
    sent(ERR_NONE);
}

static void what_is_no_spec_is_not_sent(void **arg)
{
    own_json struct json *spec = json_parse(box->spec, strlen(box->spec), &e);
    own_mem char *big = NULL, *text = mem_zero(TOKEN_ACTIVATE_MAX + 1, 1);

    (void)arg;
    what.spec = "{}";
    sent(ERR_INPUT);
    what.spec = "garbage";
    sent(ERR_INPUT);
    memset(text, 'x', TOKEN_ACTIVATE_MAX);
    json_set_str(spec, "more", text);
    big = json_text(spec);
    what.spec = big;
    sent(ERR_INPUT);
    what.addr = "nowhere";
    what.spec = box->spec;
    sent(ERR_INPUT);
}

static void a_stranger_is_not_told(void **arg)
{
    uint8_t key[SESSION_KEY_BYTES];

    (void)arg;
    random_bytes(key, sizeof(key));
    what.pool_key = key;
    sent(ERR_CONFLICT);
    what.pool_key = box->pool_key;
    e = (struct err){0};
    sent(ERR_NONE);
}

static void where_nobody_is_it_says_so_in_time(void **arg)
{
    int64_t since = loop_now_ms();
    own_fd int fd = listen_tcp("127.0.0.1:0", false, &e);
    char addr[64];

    (void)arg;
    listen_name(fd, addr, sizeof(addr));
    what.addr = addr;
    what.deadline_ms = 300;
    sent(ERR_PEER); /* it listens, and says nothing */
    close(own_fd_give(&fd));
    sent(ERR_PEER);
    assert_true(loop_now_ms() - since < 5000);
}

/* --- stand-ins --- */

/* Run fn(fd of a listener) in a process of its own; its address. */
static void stand_in(void (*fn)(int listener), char addr[64])
{
    int fd = listen_tcp("127.0.0.1:0", false, &e);

    assert_true(fd >= 0);
    listen_name(fd, addr, 64);
    helper = fork();
    if (helper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fn(fd);
        _exit(0);
    }
    close(fd);
}

static int next(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};

    poll(&p, 1, -1);
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static bool pump(int from, int to)
{
    char bytes[65536];
    ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n == 0)
        return false;
    for (ssize_t at = 0; at < n;) {
        ssize_t done = send(to, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);

        if (done > 0)
            at += done;
        else
            poll(&(struct pollfd){.fd = to, .events = POLLOUT}, 1, 100);
    }
    return true;
}

/* Until one of them ends, or the session is kept and the answer is not to
 * come through. */
static void relay(int client, int agent, bool is_cut)
{
    own_mem char *path = mem_printf("%s/agent/agent.state", box->dir);
    bool goes_on = true;

    while (goes_on) {
        struct pollfd p[2] = {{.fd = client, .events = POLLIN},
                              {.fd = agent, .events = POLLIN}};

        poll(p, 2, 10);
        if (p[0].revents)
            goes_on = pump(client, agent);
        if (is_cut && access(path, F_OK) == 0)
            return;
        if (goes_on && p[1].revents)
            goes_on = pump(agent, client);
    }
}

static void cuts_the_first_answer(int listener)
{
    for (bool is_cut = true;; is_cut = false) {
        int client = next(listener);
        struct wspeer *agent = wspeer_dial(box->addr, NULL);

        relay(client, agent->fd, is_cut);
        close(client);
        wspeer_free(agent);
    }
}

static void an_answer_that_is_lost_is_asked_for_again(void **arg)
{
    char addr[64];

    (void)arg;
    stand_in(cuts_the_first_answer, addr);
    what.addr = addr;
    sent(ERR_NONE);
    works();
}

static const char *answer; /* of the false agent */

static int find(void *arg, const uint8_t *id, size_t id_len, uint8_t key[32],
                uint64_t *tag)
{
    (void)arg;
    (void)id;
    (void)id_len;
    memcpy(key, box->pool_key, 32);
    *tag = 1;
    return 0;
}

static void answers_so(int listener)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    tls_psk_server_setup(ctx, find, NULL);
    for (;;) {
        struct wspeer *p = wspeer_of(next(listener));
        char *head;

        p->may_die = true;
        p->tls = tls_accept(ctx, p->fd);
        if (wspeer_shake(p) && (head = wspeer_head(p)) != NULL) {
            free(head);
            wspeer_puts(p, answer);
        }
        wspeer_ends(p, 300);
        wspeer_free(p);
    }
}

static void an_answer_that_is_none_is_no_yes(void **arg)
{
    static const struct {
        const char *answer;
        enum err_kind kind;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n{\"sid\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
         ERR_TIMEOUT},
        {"HTTP/1.1 200 OK\r\n\r\n", ERR_TIMEOUT},
        {"garbage that is no answer at all", ERR_TIMEOUT},
        {"HTTP/1.1 2", ERR_TIMEOUT},
        {"", ERR_TIMEOUT},
        {"HTTP/1.1 413 Content Too Large\r\n\r\n", ERR_TOO_LARGE},
        {"HTTP/1.1 409 Conflict\r\n\r\n", ERR_CONFLICT},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char addr[64];

        answer = cases[i].answer;
        stand_in(answers_so, addr);
        what.addr = addr;
        what.deadline_ms = 1000;
        e = (struct err){0};
        sent(cases[i].kind);
        kill(helper, SIGKILL);
        waitpid(helper, NULL, 0);
        helper = 0;
    }
}

/* It is asked until the deadline; the last time may be cut short by it. */
static void an_agent_that_cannot_now_is_asked_again(void **arg)
{
    char addr[64];

    (void)arg;
    answer = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
    stand_in(answers_so, addr);
    what.addr = addr;
    what.deadline_ms = 1000;
    assert_int_equal(activate_send(&what, &e), -1);
    assert_true(e.kind == ERR_PEER || e.kind == ERR_TIMEOUT);
}

/* --- the key of a pool with one secret --- */

/* By another's HKDF: Python's hmac and hashlib. */
static void the_pods_key_is_hkdf_of_secret_and_uid(void **arg)
{
    static const char want[] =
        "fe048792149bdadfa0bfd0968af35632c163ee51530797fdfeb4600c232d92bb";
    uint8_t secret[SEAL_KEY_BYTES], key[SESSION_KEY_BYTES];
    char hex[65];

    (void)arg;
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)i;
    activate_key(secret, AGENTBOX_POD, key);
    hex_encode(key, sizeof(key), hex);
    assert_string_equal(hex, want);
    activate_key(secret, "another", key);
    hex_encode(key, sizeof(key), hex);
    assert_string_not_equal(hex, want);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_pod_becomes_the_sessions),
        T(a_pod_that_has_a_session_is_told_as_taken),
        T(what_the_agent_refuses_is_denied),
        T(what_is_no_spec_is_not_sent),
        T(a_stranger_is_not_told),
        T(where_nobody_is_it_says_so_in_time),
        T(an_answer_that_is_lost_is_asked_for_again),
        T(an_answer_that_is_none_is_no_yes),
        T(an_agent_that_cannot_now_is_asked_again),
        cmocka_unit_test(the_pods_key_is_hkdf_of_secret_and_uid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
