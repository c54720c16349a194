/* Identity tokens: whose they are, and when the key set is fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/seal.h"
#include "controller/identity.h"
#include "tests/lib/forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OIDC_ISS "https://issuer.test"
#define OIDC_AUD "the-app"

static struct token_signer *one, *two;
static int fetches;
static bool is_down, has_two;
static int64_t clock_ms;
static struct err e;
static struct owner who;

static int64_t fake_clock(void)
{
    return clock_ms;
}

static int fetch(void *arg, struct token_keys **keys, int64_t *age_ms,
                 struct err *why)
{
    char *set;

    (void)arg;
    fetches++;
    if (is_down)
        return err_set(why, ERR_PEER, "down");
    set = forge_jwks(one, has_two ? two : NULL);
    *keys = token_keys_parse(set, strlen(set), why);
    *age_ms = 300000;
    free(set);
    return *keys ? 0 : -1;
}

static int setup_all(void **state)
{
    (void)state;
    seal_init();
    one = token_signer_make(NULL, &e);
    two = token_signer_make(NULL, &e);
    return one && two ? 0 : -1;
}

static int teardown_all(void **state)
{
    (void)state;
    token_signer_free(one);
    token_signer_free(two);
    return 0;
}

static int setup(void **state)
{
    struct identity_conf conf = {.issuer = OIDC_ISS,
                                 .audience = OIDC_AUD,
                                 .jwks_url = "https://issuer.test/keys",
                                 .fetch = fetch,
                                 .waiters_max = 1,
                                 .now_ms = fake_clock};

    fetches = 0;
    is_down = has_two = false;
    clock_ms = 1000000;
    memset(&e, 0, sizeof e);
    *state = identity_new(&conf);
    return 0;
}

static int teardown(void **state)
{
    identity_free(*state);
    return 0;
}

static int check(void **state, char *header)
{
    int got;

    memset(&e, 0, sizeof e);
    got = identity_check(*state, header, &who, &e);
    free(header);
    return got;
}

#define GOOD(s) forge_bearer(s, "JWT", OIDC_ISS, "\"" OIDC_AUD "\"", "alice")

static void a_right_token_names_its_owner(void **state)
{
    assert_int_equal(check(state, GOOD(one)), 0);
    assert_string_equal(who.iss, OIDC_ISS);
    assert_string_equal(who.sub, "alice");
    assert_int_equal(fetches, 1);
    assert_int_equal(check(state, GOOD(one)), 0);
    assert_int_equal(fetches, 1);
    assert_int_equal(
        check(state, forge_bearer(one, "JWT", OIDC_ISS,
                                  "[\"x\",\"" OIDC_AUD "\"]", "b")),
        0);
}

static void everything_else_is_refused(void **state)
{
    char *long_sub = mem_zero(1, 400);

    memset(long_sub, 'a', 300);
    assert_int_equal(check(state, NULL), -1);
    assert_int_equal(check(state, mem_str("Basic abc")), -1);
    assert_int_equal(check(state, mem_str("Bearer ")), -1);
    assert_int_equal(check(state, mem_str("Bearer a.b.c")), -1);
    assert_int_equal(check(state, forge_bearer(one, "JWT", "https://other",
                                               "\"" OIDC_AUD "\"", "a")),
                     -1);
    assert_int_equal(
        check(state, forge_bearer(one, "JWT", OIDC_ISS, "\"other-app\"", "a")),
        -1);
    assert_int_equal(check(state, forge_bearer(one, TOKEN_TYP_SESSION, OIDC_ISS,
                                               "\"" OIDC_AUD "\"", "a")),
                     -1);
    assert_int_equal(check(state, forge_bearer(one, "JWT", OIDC_ISS,
                                               "\"" OIDC_AUD "\"", "")),
                     -1);
    assert_int_equal(check(state, forge_bearer(one, "JWT", OIDC_ISS,
                                               "\"" OIDC_AUD "\"", long_sub)),
                     -1);
    assert_int_equal(check(state, forge_bearer(one, "JWT", OIDC_ISS,
                                               "\"" OIDC_AUD "\"", "a\\nb")),
                     -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    free(long_sub);
}

static void unknown_kid_fetches_at_most_once_in_ten_seconds(void **state)
{
    assert_int_equal(check(state, GOOD(one)), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(check(state, GOOD(two)), -1);
    assert_int_equal(fetches, 1); /* the first is too young */
    clock_ms += IDENTITY_REFETCH_MS;
    has_two = true;
    assert_int_equal(check(state, GOOD(two)), 0);
    assert_int_equal(fetches, 2);
}

static void last_good_set_stays_while_the_issuer_is_down(void **state)
{
    assert_int_equal(check(state, GOOD(one)), 0);
    is_down = true;
    clock_ms += 400000;
    assert_int_equal(check(state, GOOD(one)), 0);
    assert_int_equal(fetches, 2);
    assert_int_equal(check(state, GOOD(one)), 0);
    assert_int_equal(fetches, 2); /* not asked again at once */
}

static void without_a_set_the_error_is_ours(void **state)
{
    is_down = true;
    assert_int_equal(check(state, GOOD(one)), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    is_down = false;
    clock_ms += IDENTITY_REFETCH_MS;
    assert_int_equal(check(state, GOOD(one)), 0);
}

static void removed_key_is_refused_after_the_next_fetch(void **state)
{
    has_two = true;
    assert_int_equal(check(state, GOOD(two)), 0);
    has_two = false;
    clock_ms += 300000;
    assert_int_equal(check(state, GOOD(two)), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_right_token_names_its_owner),
        T(everything_else_is_refused),
        T(unknown_kid_fetches_at_most_once_in_ten_seconds),
        T(last_good_set_stays_while_the_issuer_is_down),
        T(without_a_set_the_error_is_ours),
        T(removed_key_is_refused_after_the_next_fetch),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
