/*
 * What starts a session, sealed for the store: it comes back whole, and only
 * for that session, by the same keys, to the last byte.
 */
#include "controller/launch.h"

#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct keys keys, others;
static struct launch what;
static struct buf sealed;

static int setup(void **arg)
{
    (void)arg;
    random_bytes(keys.session_secret, sizeof keys.session_secret);
    random_bytes(keys.launch_seal, sizeof keys.launch_seal);
    others = keys;
    others.launch_seal[0] ^= 1;
    what = (struct launch){.spec = "{\"env\":{\"A\":\"secret\"}}",
                           .trust = "kid\n",
                           .cache_owner = "own",
                           .image = "example/runner:1",
                           .record = "{}",
                           .deadline_s = -7,
                           .bundle_sha256 = "abc",
                           .charge = UINT64_MAX};
    random_id(what.sid);
    buf_init(&sealed, STORE_LAUNCH_MAX);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    buf_fini(&sealed);
    return 0;
}

static void seal(void)
{
    struct err e = {0};

    assert_int_equal(launch_seal(&what, &keys, &sealed, &e), 0);
}

static void refused(const char *sid, const void *bytes, size_t len,
                    const struct keys *k)
{
    struct err e = {0};

    assert_null(launch_open(sid, bytes, len, k, &e));
    assert_int_equal(e.kind, ERR_INPUT);
    assert_non_null(strstr(e.text, sid));
}

static void it_comes_back_whole(void **arg)
{
    uint8_t key[SESSION_KEY_BYTES];
    struct launch *got;
    struct err e = {0};

    (void)arg;
    for (int i = 0; i < 2; i++) { /* with all, and with what must be */
        buf_clear(&sealed);
        seal();
        got = launch_open(what.sid, sealed.data, sealed.len, &keys, &e);
        assert_non_null(got);
        keys_session(&keys, what.sid, key);
        assert_memory_equal(got->key, key, sizeof key); /* never stored */
        assert_string_equal(got->sid, what.sid);
        assert_string_equal(got->spec, what.spec);
        assert_string_equal(got->trust, what.trust);
        assert_string_equal(got->bundle_sha256, "abc");
        assert_int_equal(got->deadline_s, -7);
        assert_true(got->charge == UINT64_MAX);
        if (i == 0) {
            assert_string_equal(got->image, what.image);
            assert_string_equal(got->record, what.record);
            assert_string_equal(got->cache_owner, what.cache_owner);
        } else {
            assert_null(got->image);
            assert_null(got->record);
            assert_null(got->cache_owner);
        }
        launch_free(got);
        what.image = what.record = what.cache_owner = NULL;
    }
}

static void nothing_of_it_can_be_read(void **arg)
{
    (void)arg;
    seal();
    assert_null(memmem(sealed.data, sealed.len, "secret", 6));
}

static void another_session_and_other_keys_do_not_open_it(void **arg)
{
    char other[ID_SIZE];

    (void)arg;
    seal();
    random_id(other);
    refused(other, sealed.data, sealed.len, &keys);
    refused(what.sid, sealed.data, sealed.len, &others);
}

static void what_is_cut_or_bent_anywhere_is_refused(void **arg)
{
    (void)arg;
    seal();
    for (size_t len = 0; len < sealed.len; len++)
        refused(what.sid, sealed.data, len, &keys);
    for (size_t at = 0; at < sealed.len; at++) {
        sealed.data[at] ^= 0x20;
        refused(what.sid, sealed.data, sealed.len, &keys);
        sealed.data[at] ^= 0x20;
    }
}

/* By whoever has the key: too few parts, or none at all. */
static void what_was_sealed_and_is_no_start_is_refused(void **arg)
{
    static const char *const texts[] = {"", "a", "a\0b\0c\0d\0e", "\0\0\0\0\0"};
    static const size_t lens[] = {0, 1, 9, 5};
    uint8_t bytes[64 + SEAL_OVERHEAD];

    (void)arg;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        seal_bytes(keys.launch_seal, what.sid, (const uint8_t *)texts[i],
                   lens[i], bytes);
        refused(what.sid, bytes, lens[i] + SEAL_OVERHEAD, &keys);
    }
}

static void what_is_too_long_is_said_so(void **arg)
{
    own_mem char *long_spec = mem_zero(STORE_LAUNCH_MAX + 1, 1);
    own_mem uint8_t *much = mem_zero(STORE_LAUNCH_MAX + 1, 1);
    struct err e = {0};

    (void)arg;
    memset(long_spec, 'x', STORE_LAUNCH_MAX);
    what.spec = long_spec;
    assert_int_equal(launch_seal(&what, &keys, &sealed, &e), -1);
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    assert_int_equal(err_http_status(e.kind), 413);
    assert_non_null(strstr(e.text, "longer"));
    assert_int_equal(sealed.len, 0);
    refused(what.sid, much, STORE_LAUNCH_MAX + 1, &keys);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_comes_back_whole),
        T(nothing_of_it_can_be_read),
        T(another_session_and_other_keys_do_not_open_it),
        T(what_is_cut_or_bent_anywhere_is_refused),
        T(what_was_sealed_and_is_no_start_is_refused),
        T(what_is_too_long_is_said_so),
    };

    seal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
