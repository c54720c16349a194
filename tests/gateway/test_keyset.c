/*
 * The key set under a flood of tokens with key ids nobody knows, and beside a
 * key server that fails, lies or is silent. The clock is passed in; the last
 * test runs the real gateway.
 */
#include "gateway/keyset.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/certs.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/forge.h"
#include "tests/lib/gwbench.h"
#include "tests/lib/programs.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS 1000000 /* any time */
#define SID "abcdefghijklmnopqrstuvwxyz"
#define FLOOD 1000
#define SOON_MS 2000 /* well below the 5 s a fetch may take */

static struct token_signer *old, *fresh;
static char *dir, *ca, *one, *both; /* key sets: the old key, and both */
static struct fileserver *files;
static struct keyset *set;

static int setup_all(void **state)
{
    struct err e = {0};

    (void)state;
    old = token_signer_make(NULL, &e);
    fresh = token_signer_make(NULL, &e);
    assert_non_null(old);
    assert_non_null(fresh);
    one = forge_jwks(old, NULL);
    both = forge_jwks(old, fresh);
    dir = scratch_new();
    certs_make(dir, "srv", "IP:127.0.0.1");
    ca = mem_printf("%s/srv-ca.pem", dir);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    token_signer_free(old);
    token_signer_free(fresh);
    free(one);
    free(both);
    free(ca);
    scratch_remove(dir);
    return 0;
}

static void serve(const struct fileserver_reply *script, size_t count)
{
    static char url[64];

    files = fileserver_start(one, strlen(one), script, count, dir);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/jwks",
             fileserver_port(files));
    set = keyset_new(NULL, url, ca);
}

static int stop(void **state)
{
    (void)state;
    fileserver_stop(files);
    keyset_free(set);
    files = NULL;
    set = NULL;
    return 0;
}

static void read_at(int64_t now_ms)
{
    struct err e = {0};

    if (keyset_refresh(set, now_ms, &e) != 0)
        fail_msg("%s", e.text);
}

/* A token of that signer: is it taken? unknown: its key id is not. */
static bool is_taken(const struct token_signer *s, bool *unknown)
{
    struct session_claims out, c = {.role = ROLE_OWNER, .iss = "i", .aud = "a"};
    own_mem char *token = NULL;
    struct err e = {0};

    snprintf(c.sub, sizeof(c.sub), "s");
    snprintf(c.sid, sizeof(c.sid), SID);
    snprintf(c.jti, sizeof(c.jti), SID);
    snprintf(c.bnd, sizeof(c.bnd), BENCH_BND);
    c.iat = c.nbf = time(NULL);
    c.exp = c.iat + TOKEN_LIFE_S;
    token = session_token_sign(s, &c, &e);
    assert_non_null(token);
    return keyset_verify(set, token, strlen(token), "i", "a", time(NULL), 30,
                         &out, unknown, &e) == 0;
}

static void a_flood_of_unknown_ids_is_one_request(void **state)
{
    static const struct fileserver_reply script[] = {{0}};
    bool unknown;

    (void)state;
    serve(script, 1);
    read_at(START_MS);
    assert_int_equal(fileserver_requests(files), 1);
    for (int i = 0; i < FLOOD; i++)
        assert_false(keyset_refresh_unknown(
            set, START_MS + i * (KEYSET_UNKNOWN_MS - 1) / FLOOD));
    assert_false(keyset_refresh_unknown(set, START_MS + KEYSET_UNKNOWN_MS - 1));
    assert_int_equal(fileserver_requests(files), 1);
    assert_true(is_taken(old, &unknown)); /* whom we know, we know */
    for (int i = 0; i < FLOOD; i++)
        keyset_refresh_unknown(set, START_MS + KEYSET_UNKNOWN_MS + i);
    assert_int_equal(fileserver_requests(files), 2);
}

static void a_set_never_read_may_be_asked_for_at_once(void **state)
{
    static const struct fileserver_reply script[] = {{0}};

    (void)state;
    serve(script, 1);
    assert_false(keyset_is_loaded(set));
    assert_true(keyset_refresh_unknown(set, 0));
    assert_true(keyset_is_loaded(set));
    assert_false(keyset_refresh_unknown(set, 1));
    assert_int_equal(fileserver_requests(files), 1);
}

static void a_server_that_fails_is_not_asked_more_often(void **state)
{
    static const struct fileserver_reply script[] = {
        {0},
        {.status = 500},
        {.trick = FILESERVER_HANG_UP},
        {.body = "{\"keys\":[]}x", .len = 12},
        {.trick = FILESERVER_ENDLESS}};
    int64_t now = START_MS;
    bool unknown;

    (void)state;
    serve(script, 5);
    read_at(now);
    for (int round = 2; round <= 5; round++) {
        now += KEYSET_UNKNOWN_MS;
        for (int i = 0; i < FLOOD; i++)
            assert_false(keyset_refresh_unknown(set, now + i));
        assert_int_equal(fileserver_requests(files), round);
        assert_true(is_taken(old, &unknown)); /* the last good set stays */
    }
}

static void a_new_key_is_found_when_the_time_is_over(void **state)
{
    const struct fileserver_reply script[] = {
        {0}, {.body = both, .len = strlen(both)}};
    bool unknown = false;

    (void)state;
    serve(script, 2);
    read_at(START_MS);
    assert_false(is_taken(fresh, &unknown));
    assert_true(unknown);
    assert_false(keyset_refresh_unknown(set, START_MS + 100));
    assert_false(is_taken(fresh, &unknown));
    assert_true(is_taken(old, &unknown));
    /* a stranger's token may be the one that has it fetched */
    assert_true(keyset_refresh_unknown(set, START_MS + KEYSET_UNKNOWN_MS));
    assert_true(is_taken(fresh, &unknown));
    assert_false(unknown);
    assert_true(is_taken(old, &unknown));
    assert_int_equal(fileserver_requests(files), 2);
}

/* --- beside a fetch that hangs --- */

static void *fetch_unknown(void *arg)
{
    keyset_refresh_unknown(set, START_MS + KEYSET_UNKNOWN_MS);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void await_requests(struct fileserver *f, int count)
{
    for (int i = 0; i < 2000 && fileserver_requests(f) < count; i++)
        poll(NULL, 0, 5);
    assert_int_equal(fileserver_requests(f), count);
}

static void nobody_waits_for_a_fetch_that_hangs(void **state)
{
    static const struct fileserver_reply script[] = {
        {0}, {.trick = FILESERVER_SILENT}};
    atomic_bool is_over = false;
    struct err e = {0};
    pthread_t thread;
    bool unknown;

    (void)state;
    serve(script, 2);
    read_at(START_MS);
    assert_int_equal(pthread_create(&thread, NULL, fetch_unknown, &is_over), 0);
    await_requests(files, 2);
    assert_true(is_taken(old, &unknown));
    assert_int_equal(
        keyset_refresh_unknown(set, START_MS + 5 * KEYSET_UNKNOWN_MS),
        KEYSET_BUSY);
    assert_int_equal(keyset_refresh(set, START_MS + 5 * KEYSET_UNKNOWN_MS, &e),
                     1);
    assert_false(atomic_load(&is_over)); /* it hung all the while */
    fileserver_stop(files);
    files = NULL;
    pthread_join(thread, NULL);
    assert_true(is_taken(old, &unknown));
}

/* --- the gateway --- */

/* What HELLO with a token of this signer is answered. */
static void expect(struct bench *b, struct token_signer *s, const char *sid,
                   const char *word, int code)
{
    struct wspeer *c = wspeer_dial(b->addr, NULL);
    struct token_signer *own = b->signer;
    own_mem char *hello = NULL;

    wspeer_upgrade(c, b->addr, "");
    b->signer = s;
    hello = bench_hello(b, sid);
    b->signer = own;
    wspeer_binary(c, 0x01, hello);
    free(wspeer_refused(c, word, code));
    wspeer_free(c);
}

static void strangers_cost_the_gateway_no_request_and_no_thread(void **state)
{
    struct bench *b = bench_new();
    own_mem char *keys = forge_jwks(b->signer, NULL), *url = NULL;
    own_mem char *authority = mem_printf("--jwks-ca=%s", ca);
    /* read at the start; from the next reading on there is silence */
    const struct fileserver_reply script[] = {
        {.body = keys, .len = strlen(keys)}, {.trick = FILESERVER_SILENT}};
    struct fileserver *f = fileserver_start(keys, strlen(keys), script, 2, dir);
    char sid[ID_SIZE];
    int64_t began;

    (void)state;
    url =
        mem_printf("--jwks-url=https://127.0.0.1:%d/jwks", fileserver_port(f));
    bench_start(b, (const char *const[]){url, authority,
                                         "--jwks-refresh-ms=1000", NULL});
    bench_session(b, STATE_RUNNING, sid);
    bench_end(b, sid); /* so that a good token is told so at once */
    await_requests(f, 2);
    began = loop_now_ms();
    /* what is under way may bring the key: nobody is refused for good */
    for (int i = 0; i < 50; i++)
        expect(b, fresh, sid, "unavailable", 4503);
    expect(b, b->signer, sid, "session_ended", 4410);
    assert_in_range(loop_now_ms() - began, 0, SOON_MS);
    assert_int_equal(fileserver_requests(f), 2);
    fileserver_stop(f);
    assert_true(bench_free(b));
}

#define T(f) cmocka_unit_test_setup_teardown(f, NULL, stop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_flood_of_unknown_ids_is_one_request),
        T(a_set_never_read_may_be_asked_for_at_once),
        T(a_server_that_fails_is_not_asked_more_often),
        T(a_new_key_is_found_when_the_time_is_over),
        T(nobody_waits_for_a_fetch_that_hangs),
        T(strangers_cost_the_gateway_no_request_and_no_thread),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
