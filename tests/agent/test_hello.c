/* Which server a program's TLS greeting names, and what cannot be read. */
#include "agent/hello.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME "api.example.com"
#define SAMPLES "tests/fuzz/corpus/hello/"

/* A ClientHello: its extensions, and the message around them. */
struct greeting {
    struct buf extensions, message, wire;
};

static struct greeting g;

static void put(struct buf *b, uint64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--)
        buf_append_u8(b, (uint8_t)(v >> (8 * i)));
}

static void begin(void)
{
    buf_init(&g.extensions, 1 << 20);
    buf_init(&g.message, 1 << 20);
    buf_init(&g.wire, 1 << 20);
}

static int done(void **arg)
{
    (void)arg;
    buf_fini(&g.extensions);
    buf_fini(&g.message);
    buf_fini(&g.wire);
    return 0;
}

static void extension(unsigned type, const void *bytes, size_t len)
{
    put(&g.extensions, type, 2);
    put(&g.extensions, len, 2);
    buf_append(&g.extensions, bytes, len);
}

/* Of the only type there is, or another. */
static void server_name(unsigned type, const char *name, size_t len)
{
    put(&g.extensions, 0, 2);
    put(&g.extensions, len + 5, 2);
    put(&g.extensions, len + 3, 2);
    put(&g.extensions, type, 1);
    put(&g.extensions, len, 2);
    buf_append(&g.extensions, name, len);
}

static void close_message(void)
{
    put(&g.message, 1, 1);
    put(&g.message, 2 + 32 + 1 + 2 + 2 + 2 + 2 + g.extensions.len, 3);
    put(&g.message, 0x0303, 2);
    for (int i = 0; i < 32; i++)
        put(&g.message, (uint64_t)i, 1);
    put(&g.message, 0, 1);
    put(&g.message, 2, 2);
    put(&g.message, 0x1301, 2);
    put(&g.message, 0x0100, 2);
    put(&g.message, g.extensions.len, 2);
    buf_append(&g.message, g.extensions.data, g.extensions.len);
}

static void record(unsigned kind, const void *bytes, size_t len)
{
    put(&g.wire, kind, 1);
    put(&g.wire, 0x0301, 2);
    put(&g.wire, len, 2);
    buf_append(&g.wire, bytes, len);
}

static void records(size_t step)
{
    for (size_t at = 0; at < g.message.len; at += step)
        record(22, g.message.data + at,
               g.message.len - at < step ? g.message.len - at : step);
}

/* A greeting with that name in records of at most `step` bytes. */
static void named(const char *name, size_t step)
{
    begin();
    extension(10, "\0\2\0\x1d", 4);
    server_name(0, name, strlen(name));
    extension(0xffa5, "", 0);
    close_message();
    records(step);
}

static enum hello_verdict verdict(struct hello *out)
{
    memset(out, 0, sizeof(*out));
    return hello_read(g.wire.data, g.wire.len, out);
}

static void expect(enum hello_verdict want)
{
    struct hello h;

    assert_int_equal(verdict(&h), want);
}

static void expect_name(const char *want)
{
    struct hello h;

    assert_int_equal(verdict(&h), HELLO_WHOLE);
    assert_string_equal(h.name, want);
}

static void what_programs_really_send_is_read(void **arg)
{
    static const struct {
        const char *of, *name;
        enum hello_verdict verdict;
    } samples[] = {
        {"openssl", "api.example.com", HELLO_WHOLE},
        {"openssl12", "api.example.com",
         HELLO_WHOLE}, /* sent Api.Example.COM */
        {"curl", "registry.example.org", HELLO_WHOLE},
        {"node", "registry.npmjs.example", HELLO_WHOLE},
        {"gnutls", "git.example.net", HELLO_WHOLE},
        {"python", "pypi.example.org", HELLO_WHOLE},
        {"cut", "api.example.com", HELLO_WHOLE},
        {"noname", NULL, HELLO_NAMELESS},
        {"chromium", NULL, HELLO_ENCRYPTED},
        {"ssh", NULL, HELLO_NOT_TLS},
    };

    (void)arg;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        own_mem char *path = mem_printf(SAMPLES "%s", samples[i].of);
        struct hello h;
        struct err e = {0};

        begin();
        assert_int_equal(file_read(path, &g.wire, &e), 0);
        assert_int_equal(verdict(&h), samples[i].verdict);
        if (samples[i].name)
            assert_string_equal(h.name, samples[i].name);
        if (samples[i].name)
            assert_int_equal(h.used, g.wire.len);
        done(NULL);
    }
}

static void however_it_is_cut_its_name_is_the_same(void **arg)
{
    (void)arg;
    for (size_t step = 1; step < 150; step++) {
        named("API.example.com", step);
        expect_name(NAME);
        for (size_t n = 0; n < g.wire.len; n++) {
            struct hello h = {0};

            assert_int_equal(hello_read(g.wire.data, n, &h), HELLO_MORE);
        }
        done(NULL);
    }
}

static void what_could_mean_two_things_is_refused(void **arg)
{
    (void)arg;
    begin(); /* two name extensions */
    server_name(0, NAME, strlen(NAME));
    server_name(0, "other.example", 13);
    close_message();
    records(1000);
    expect(HELLO_BROKEN);
    done(NULL);

    begin(); /* two names in one */
    extension(0, "\0\x0a\0\0\2aa\0\0\2bb", 12);
    close_message();
    records(1000);
    expect(HELLO_BROKEN);
    done(NULL);

    begin(); /* a name of another type */
    server_name(1, NAME, strlen(NAME));
    close_message();
    records(1000);
    expect(HELLO_BROKEN);
    done(NULL);

    named(NAME, 1000); /* something in its last record that is not of it */
    g.wire.data[4]++;
    put(&g.wire, 1, 1);
    expect(HELLO_BROKEN);
    done(NULL);

    named(NAME, 40); /* another kind of record in its midst */
    g.wire.data[45] = 20;
    expect(HELLO_BROKEN);
    done(NULL);

    named(NAME, 1000); /* an empty record */
    g.wire.data[3] = g.wire.data[4] = 0;
    expect(HELLO_BROKEN);
    done(NULL);

    named(NAME, 1000); /* a length that goes beyond the message */
    g.wire.data[5 + 4 + 34 + 1 + 2 + 2 + 2 + 1]++;
    expect(HELLO_BROKEN);
    done(NULL);

    named(NAME, 1000);
    g.wire.data[5] = 2; /* no ClientHello */
    expect(HELLO_BROKEN);
}

static void a_name_is_a_dns_name_and_stands_there(void **arg)
{
    static const char *const bad[] = {"",     ".",     "a..b",       "a.",
                                      ".a",   "a b",   "a/b",        "[::1]",
                                      "a\nb", "a:443", "ex\xc3\xa4", "a%2e"};
    char longest[HELLO_NAME_MAX + 2] = {0};

    (void)arg;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        named(bad[i], 1000);
        expect(HELLO_NAMELESS);
        done(NULL);
    }
    begin(); /* a zero byte in it */
    server_name(0, "a.example\0.b", 12);
    close_message();
    records(1000);
    expect(HELLO_NAMELESS);
    done(NULL);
    begin();
    extension(10, "\0\2\0\x1d", 4);
    close_message();
    records(1000);
    expect(HELLO_NAMELESS);
    done(NULL);
    memset(longest, 'a', HELLO_NAME_MAX);
    named(longest, 1000);
    expect_name(longest);
    done(NULL);
    longest[HELLO_NAME_MAX] = 'a';
    named(longest, 1000);
    expect(HELLO_NAMELESS);
}

static void what_may_hide_another_name_is_refused(void **arg)
{
    static const unsigned hiding[] = {0xfe0d, 0xffce};

    (void)arg;
    for (int before = 0; before < 2; before++)
        for (int i = 0; i < 2; i++) {
            begin();
            if (before)
                server_name(0, NAME, strlen(NAME));
            extension(hiding[i], "\0\0", 2);
            if (!before)
                server_name(0, NAME, strlen(NAME));
            close_message();
            records(1000);
            expect(HELLO_ENCRYPTED);
            done(NULL);
        }
}

static void it_is_bounded(void **arg)
{
    static const uint8_t big[HELLO_MAX];
    struct hello h;
    size_t room = HELLO_MAX - 47 - 4 - (9 + strlen(NAME));

    (void)arg;
    begin();
    server_name(0, NAME, strlen(NAME));
    extension(21, big, room);
    close_message();
    assert_int_equal(g.message.len, HELLO_MAX);
    records(HELLO_MAX);
    expect_name(NAME);
    done(NULL);

    begin();
    server_name(0, NAME, strlen(NAME));
    extension(21, big, room + 1);
    close_message();
    records(HELLO_MAX);
    expect(HELLO_TOO_LARGE);
    done(NULL);

    begin(); /* one that never ends, in the smallest of records */
    server_name(0, NAME, strlen(NAME));
    extension(21, big, 8000);
    close_message();
    records(1);
    memset(&h, 0, sizeof(h));
    assert_true(g.wire.len > HELLO_WIRE_MAX);
    assert_int_equal(hello_read(g.wire.data, HELLO_WIRE_MAX - 1, &h),
                     HELLO_MORE);
    assert_int_equal(hello_read(g.wire.data, HELLO_WIRE_MAX, &h),
                     HELLO_TOO_LARGE);
    done(NULL);

    begin();
    server_name(0, NAME, strlen(NAME));
    for (unsigned i = 0; i < 63; i++)
        extension(1000 + i, "", 0);
    close_message();
    records(1000);
    expect_name(NAME);
    done(NULL);

    begin();
    server_name(0, NAME, strlen(NAME));
    for (unsigned i = 0; i < 64; i++)
        extension(1000 + i, "", 0);
    close_message();
    records(1000);
    expect(HELLO_BROKEN);
}

/* --- what comes behind it --- */

static enum hello_verdict next(bool early, size_t *used)
{
    struct hello first = {.name = NAME, .has_early_data = early};

    *used = 0;
    return hello_next(g.wire.data, g.wire.len, &first, used);
}

static void a_second_greeting_names_the_same(void **arg)
{
    size_t used;

    (void)arg;
    for (size_t step = 1; step < 150; step += 7) {
        named(NAME, step);
        assert_int_equal(next(false, &used), HELLO_WHOLE);
        assert_int_equal(used, g.wire.len);
        for (size_t n = 1; n < g.wire.len; n++) {
            struct hello first = {.name = NAME};

            assert_int_equal(hello_next(g.wire.data, n, &first, &used),
                             HELLO_MORE);
        }
        done(NULL);
        named("other.example.com", step);
        assert_int_equal(next(false, &used), HELLO_OTHER);
        done(NULL);
    }
    begin();
    server_name(0, NAME, strlen(NAME));
    extension(0xfe0d, "", 0);
    close_message();
    records(1000);
    assert_int_equal(next(false, &used), HELLO_ENCRYPTED);
}

static void records_that_change_nothing_pass_one_by_one(void **arg)
{
    size_t used;

    (void)arg;
    begin();
    record(20, "\1", 1);
    record(22, "\1", 1);
    assert_int_equal(next(false, &used), HELLO_PASSES);
    assert_int_equal(used, 6);
    done(NULL);

    begin();
    record(21, "\2\50\0", 3);
    assert_int_equal(next(false, &used), HELLO_PASSES);
    assert_int_equal(used, 8);
    g.wire.len--;
    assert_int_equal(next(false, &used), HELLO_MORE);
    done(NULL);

    begin(); /* the key exchange of TLS 1.2 */
    record(22, "\20\0\0\1\0", 5);
    assert_int_equal(next(false, &used), HELLO_OVER);
    done(NULL);

    begin(); /* an encrypted one that begins like a ClientHello */
    record(22, "\1\2\2\1 encrypted", 14);
    assert_int_equal(next(false, &used), HELLO_OVER);
    g.wire.data[6] = 1; /* 66049 bytes: one that a server might take */
    assert_int_equal(next(false, &used), HELLO_TOO_LARGE);
}

/* Where the server takes no early data, a ClientHello may come behind it. */
static void early_data_does_not_end_the_watch(void **arg)
{
    size_t used;

    (void)arg;
    begin();
    server_name(0, NAME, strlen(NAME));
    extension(42, "", 0);
    close_message();
    records(1000);
    {
        struct hello h;

        assert_int_equal(verdict(&h), HELLO_WHOLE);
        assert_true(h.has_early_data);
    }
    done(NULL);

    begin();
    record(23, "hidden", 6);
    assert_int_equal(next(false, &used), HELLO_OVER);
    assert_int_equal(next(true, &used), HELLO_PASSES);
    assert_int_equal(used, 11);
}

static void each_refusal_has_its_sentence(void **arg)
{
    (void)arg;
    for (int v = HELLO_MORE; v <= HELLO_OVER; v++)
        assert_null(hello_sentence((enum hello_verdict)v));
    for (int v = HELLO_NOT_TLS; v <= HELLO_OTHER; v++)
        assert_non_null(hello_sentence((enum hello_verdict)v));
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, done)
    const struct CMUnitTest tests[] = {
        T(what_programs_really_send_is_read),
        T(however_it_is_cut_its_name_is_the_same),
        T(what_could_mean_two_things_is_refused),
        T(a_name_is_a_dns_name_and_stands_there),
        T(what_may_hide_another_name_is_refused),
        T(it_is_bounded),
        T(a_second_greeting_names_the_same),
        T(records_that_change_nothing_pass_one_by_one),
        T(early_data_does_not_end_the_watch),
        T(each_refusal_has_its_sentence),
    };

    return cmocka_run_group_tests_name("agent/hello", tests, NULL, NULL);
}
