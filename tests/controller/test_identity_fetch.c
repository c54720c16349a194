/*
 * Identity tokens while the provider's key set is fetched: a provider that
 * hangs, and strangers with key ids nobody knows, hold up nobody else. The
 * last test asks the real controller.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "controller/identity.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/forge.h"
#include "tests/lib/programs.h"
#include "tests/lib/rest.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ISS "https://issuer.test"
#define AUD "the-app"
#define AGE_MS 300000
#define FLOOD 100
#define SOON_MS 4000 /* half of what a fetch may take */
#define STRANGERS 8

static struct token_signer *one, *two, *three;
static struct identity *id;
static atomic_int fetches;
static atomic_llong clock_ms;
static atomic_bool is_gated, is_down, has_two;
static sem_t gate; /* a gated fetch hangs until it is posted */

static int64_t fake_clock(void)
{
    return atomic_load(&clock_ms);
}

static int fetch(void *arg, struct token_keys **keys, int64_t *age_ms,
                 struct err *e)
{
    bool hangs = atomic_load(&is_gated);
    own_mem char *set = NULL;

    (void)arg;
    atomic_fetch_add(&fetches, 1);
    if (hangs)
        sem_wait(&gate);
    if (atomic_load(&is_down))
        return err_set(e, ERR_PEER, "down");
    set = forge_jwks(one, atomic_load(&has_two) ? two : NULL);
    *keys = token_keys_parse(set, strlen(set), e);
    *age_ms = AGE_MS;
    return *keys ? 0 : -1;
}

static int setup_all(void **state)
{
    struct err e = {0};

    (void)state;
    seal_init();
    one = token_signer_make(NULL, &e);
    two = token_signer_make(NULL, &e);
    three = token_signer_make(NULL, &e);
    return one && two && three ? 0 : -1;
}

static int teardown_all(void **state)
{
    (void)state;
    token_signer_free(one);
    token_signer_free(two);
    token_signer_free(three);
    return 0;
}

static void start(int waiters_max)
{
    struct identity_conf conf = {.issuer = ISS,
                                 .audience = AUD,
                                 .jwks_url = ISS "/keys",
                                 .fetch = fetch,
                                 .waiters_max = waiters_max,
                                 .now_ms = fake_clock};

    atomic_store(&fetches, 0);
    atomic_store(&is_down, false);
    atomic_store(&has_two, false);
    atomic_store(&is_gated, false);
    atomic_store(&clock_ms, 1000000);
    sem_init(&gate, 0, 0);
    id = identity_new(&conf);
}

static int stop(void **state)
{
    (void)state;
    sem_post(&gate);
    identity_free(id);
    id = NULL;
    sem_destroy(&gate);
    return 0;
}

static char *token_of(const struct token_signer *s)
{
    return forge_bearer(s, "JWT", ISS, "\"" AUD "\"", "ann");
}

/* What a token of that signer is told; ERR_NONE = it is taken. */
static enum err_kind told(const struct token_signer *s)
{
    own_mem char *header = token_of(s);
    struct owner who;
    struct err e = {0};

    return identity_check(id, header, &who, &e) == 0 ? ERR_NONE : e.kind;
}

/* Until it is told this; what it may be told meanwhile is `before`. */
static void await(const struct token_signer *s, enum err_kind before,
                  enum err_kind then)
{
    enum err_kind now;

    for (int i = 0; (now = told(s)) != then; i++) {
        assert_int_equal(now, before);
        assert_true(i < 2000);
        poll(NULL, 0, 5);
    }
}

/* The fetch thread comes by itself. */
static void await_fetches(int count)
{
    for (int i = 0; i < 2000 && atomic_load(&fetches) < count; i++)
        poll(NULL, 0, 5);
    assert_int_equal(atomic_load(&fetches), count);
}

/* A set is there, and the next fetch hangs. */
static void hang(void)
{
    await(one, ERR_SYSTEM, ERR_NONE);
    atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS);
    atomic_store(&is_gated, true);
}

static void nobody_waits_for_a_fetch_when_none_may(void **state)
{
    (void)state;
    start(0);
    atomic_store(&is_gated, true);
    assert_int_equal(told(one), ERR_SYSTEM); /* come again */
    await_fetches(1);
    atomic_store(&is_gated, false);
    sem_post(&gate);
    hang();
    /* were anybody to wait, it would be for ever */
    for (int i = 0; i < FLOOD; i++) {
        assert_int_equal(told(three), ERR_SYSTEM);
        assert_int_equal(told(one), ERR_NONE);
        atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS);
    }
    await_fetches(2); /* and at most one thread fetches */
    /* nor when the set has become old */
    atomic_fetch_add(&clock_ms, AGE_MS);
    assert_int_equal(told(one), ERR_NONE);
    await_fetches(2);
}

static void strangers_hold_a_thread_for_a_second_in_all(void **state)
{
    int64_t began;

    (void)state;
    start(1);
    hang();
    began = loop_now_ms();
    for (int i = 0; i < FLOOD; i++)
        assert_int_equal(told(three), ERR_SYSTEM);
    assert_in_range(loop_now_ms() - began, IDENTITY_WAIT_MS / 2,
                    5 * IDENTITY_WAIT_MS);
    assert_int_equal(told(one), ERR_NONE);
    await_fetches(2);
}

static void *ask(void *arg)
{
    *(enum err_kind *)arg = told(two);
    return NULL;
}

static void who_waits_is_told_as_soon_as_the_set_is_there(void **state)
{
    enum err_kind was = ERR_KIND_COUNT;
    pthread_t thread;

    (void)state;
    start(1);
    hang();
    atomic_store(&has_two, true);
    assert_int_equal(pthread_create(&thread, NULL, ask, &was), 0);
    await_fetches(2); /* it started that, and waits or is about to */
    sem_post(&gate);
    pthread_join(thread, NULL);
    assert_int_equal(was, ERR_NONE);
}

static void a_new_key_is_told_to_come_again_and_is_taken_then(void **state)
{
    (void)state;
    start(0);
    hang();
    atomic_store(&has_two, true);
    assert_int_equal(told(three), ERR_SYSTEM); /* a stranger was first */
    for (int i = 0; i < FLOOD; i++)
        assert_int_equal(told(two), ERR_SYSTEM);
    atomic_store(&is_gated, false);
    sem_post(&gate);
    await(two, ERR_SYSTEM, ERR_NONE);
    assert_int_equal(atomic_load(&fetches), 2);
}

/* The provider has a new key, and signs with it at once. */
static void
a_key_younger_than_the_last_fetch_is_told_to_come_again(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(told(one), ERR_NONE);
    atomic_store(&has_two, true);
    atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS - 1);
    for (int i = 0; i < FLOOD; i++)
        assert_int_equal(told(two), ERR_SYSTEM);
    assert_int_equal(atomic_load(&fetches), 1); /* one in ten seconds */
    atomic_fetch_add(&clock_ms, 1);
    assert_int_equal(told(two), ERR_NONE);
    assert_int_equal(atomic_load(&fetches), 2);
    /* final is what a set asked for after the token came does not know */
    assert_int_equal(told(three), ERR_SYSTEM);
    atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS);
    assert_int_equal(told(three), ERR_TOKEN);
    assert_int_equal(atomic_load(&fetches), 3);
}

static void while_the_provider_is_down_no_unknown_key_is_refused(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(told(one), ERR_NONE);
    atomic_store(&is_down, true);
    atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS);
    for (int i = 0; i < FLOOD; i++)
        assert_int_equal(told(two), ERR_SYSTEM);
    assert_int_equal(told(one), ERR_NONE);
    assert_int_equal(atomic_load(&fetches), 2); /* one in ten seconds */
    atomic_store(&is_down, false);
    atomic_store(&has_two, true);
    atomic_fetch_add(&clock_ms, IDENTITY_REFETCH_MS);
    assert_int_equal(told(two), ERR_NONE);
    assert_int_equal(atomic_load(&fetches), 3);
}

/* --- the controller --- */

static struct rest_server controller;

static struct rest_answer list_of(const struct token_signer *s)
{
    own_mem char *bearer = token_of(s);
    own_mem char *head = mem_printf("Authorization: %s\r\n", bearer);

    return rest_call(controller.port, "GET", "/api/sessions", head, NULL);
}

/* Status, and Retry-After as a number. */
static int status_of(const struct token_signer *s, int *retry_s)
{
    struct rest_answer a = list_of(s);
    int status = a.status;

    if (retry_s)
        *retry_s = atoi(rest_header(&a, "retry-after"));
    rest_fini(&a);
    return status;
}

static void *be_a_stranger(void *arg)
{
    *(int *)arg = status_of(three, NULL);
    return NULL;
}

/* With fewer threads than there are strangers. */
static void start_controller(const char *state, int port)
{
    own_mem char *url = mem_printf("http://127.0.0.1:%d/keys", port);
    own_mem char *uids = mem_printf("%ld", rest_uids() + 20000);
    static char said[65536];
    const char *const args[] = {"--oidc-issuer",
                                ISS,
                                "--oidc-audience",
                                AUD,
                                "--oidc-jwks-url",
                                url,
                                "--listen",
                                "127.0.0.1:0",
                                "--state-dir",
                                state,
                                "--attach-url",
                                "ws://127.0.0.1:1/v1/attach",
                                "--uid-first",
                                uids,
                                "--workers",
                                "2",
                                NULL};

    if (!rest_start(&controller, args, said, sizeof said))
        fail_msg("the controller did not start: %s", said);
}

static void strangers_and_a_silent_provider_hold_up_no_request(void **state)
{
    static const struct fileserver_reply script[] = {
        {0}, {.trick = FILESERVER_SILENT}};
    own_mem char *keys = forge_jwks(one, NULL);
    struct fileserver *f =
        fileserver_start(keys, strlen(keys), script, 2, NULL);
    pthread_t threads[STRANGERS];
    int statuses[STRANGERS], retry_s;
    char *dir = scratch_new();
    int64_t began;

    (void)state;
    start_controller(dir, fileserver_port(f));
    assert_int_equal(status_of(one, NULL), 200);
    /* no second request within ten seconds of the first */
    began = loop_now_ms();
    while (fileserver_requests(f) < 2) {
        int status = status_of(three, NULL);

        assert_true(status == 401 || status == 503);
        assert_true(loop_now_ms() - began < 2 * IDENTITY_REFETCH_MS);
        poll(NULL, 0, 20);
    }
    began = loop_now_ms();
    for (int i = 0; i < STRANGERS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, be_a_stranger, &statuses[i]), 0);
    for (int i = 0; i < STRANGERS; i++) {
        assert_int_equal(status_of(one, NULL), 200);
        assert_int_equal(status_of(two, &retry_s), 503);
        assert_in_range(retry_s, 1, 10);
    }
    for (int i = 0; i < STRANGERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(statuses[i], 503);
    }
    assert_in_range(loop_now_ms() - began, 0, SOON_MS);
    assert_int_equal(fileserver_requests(f), 2); /* it hung all the while */
    fileserver_stop(f);
    rest_stop(&controller, SIGTERM);
    scratch_remove(dir);
}

#define T(f) cmocka_unit_test_setup_teardown(f, NULL, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nobody_waits_for_a_fetch_when_none_may),
        T(strangers_hold_a_thread_for_a_second_in_all),
        T(who_waits_is_told_as_soon_as_the_set_is_there),
        T(a_new_key_is_told_to_come_again_and_is_taken_then),
        T(a_key_younger_than_the_last_fetch_is_told_to_come_again),
        T(while_the_provider_is_down_no_unknown_key_is_refused),
        cmocka_unit_test(strangers_and_a_silent_provider_hold_up_no_request),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
