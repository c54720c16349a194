#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/minisign.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything here is made by the minisign command itself. */
static char dir[64];
static char *sig, *legacy, *other_sig; /* signature files' texts */
static char *pub, *other_pub;          /* .pub files' texts */
static struct minisign_key key, other_key;
static uint8_t hash[BLAKE2B_BYTES];

static void run(const char *fmt, const char *a, const char *b)
{
    own_mem char *args = mem_printf(fmt, a, b);
    own_mem char *line =
        mem_printf("cd %s && { %s; } >/dev/null 2>&1 </dev/null", dir, args);

    if (system(line) != 0) {
        fprintf(stderr, "failed: %s\n", args);
        abort();
    }
}

static char *slurp(const char *name)
{
    own_mem char *path = mem_printf("%s/%s", dir, name);
    char *text = mem_zero(8192, 1);
    FILE *f = fopen(path, "r");

    if (!f || fread(text, 1, 8191, f) == 0)
        abort();
    fclose(f);
    return text;
}

static int setup(void **state)
{
    struct digest *d = digest_new(DIGEST_BLAKE2B_512);
    struct err e = {0};

    (void)state;
    seal_init();
    strcpy(dir, "/tmp/podterm-minisign.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    run("minisign -G -W -p %s.pub -s %s.key", "a", "a");
    run("minisign -G -W -p %s.pub -s %s.key", "b", "b");
    run("printf 'the bundle' >%s%s", "file", "");
    run("minisign -S -s a.key -t '%s' -m file -x %s", "made for a test", "sig");
    run("minisign -S -l -s a.key -m %s -x %s", "file", "legacy");
    run("minisign -S -s b.key -m %s -x %s", "file", "other");
    sig = slurp("sig");
    legacy = slurp("legacy");
    other_sig = slurp("other");
    pub = slurp("a.pub");
    other_pub = slurp("b.pub");
    digest_add(d, "the bundle", 10);
    digest_end(d, hash);
    digest_free(d);
    return minisign_key_parse(pub, &key, &e) |
           minisign_key_parse(other_pub, &other_key, &e);
}

static int teardown(void **state)
{
    (void)state;
    run("rm -rf %s%s", dir, "");
    free(sig);
    free(legacy);
    free(other_sig);
    free(pub);
    free(other_pub);
    return 0;
}

/* What is said of text by the given keys; "" when it was taken. */
static const char *verdict(const char *text, size_t len,
                           const struct minisign_key *keys, size_t count,
                           enum err_kind *kind)
{
    static struct err e;

    e = (struct err){0};
    if (minisign_verify(text, len, hash, keys, count, &e) == 0)
        return "";
    *kind = e.kind;
    return e.text;
}

static void assert_verdict(const char *text, const char *want,
                           enum err_kind want_kind)
{
    enum err_kind kind = ERR_NONE;
    const char *got = verdict(text, strlen(text), &key, 1, &kind);

    if (want ? !strstr(got, want) : *got != 0)
        fail_msg("expected \"%s\", got \"%s\" for\n%s",
                 want ? want : "accepted", got, text);
    assert_int_equal(kind, want_kind);
}

static void a_signature_of_the_command_is_taken(void **state)
{
    const struct minisign_key both[] = {other_key, key};
    enum err_kind kind;

    (void)state;
    assert_verdict(sig, NULL, ERR_NONE);
    assert_string_equal(verdict(sig, strlen(sig), both, 2, &kind), "");
    /* without the last newline, as a JSON member may carry it */
    assert_string_equal(verdict(sig, strlen(sig) - 1, &key, 1, &kind), "");
}

static void line_ends_of_windows_are_taken(void **state)
{
    own_mem char *text = mem_zero(2 * strlen(sig) + 1, 1);
    char *to = text;

    (void)state;
    for (const char *from = sig; *from; from++) {
        if (*from == '\n')
            *to++ = '\r';
        *to++ = *from;
    }
    assert_verdict(text, NULL, ERR_NONE);
}

static void a_legacy_signature_is_refused(void **state)
{
    (void)state;
    assert_verdict(legacy, "prehashed", ERR_INPUT);
}

static void a_key_that_is_not_the_operators_is_refused(void **state)
{
    enum err_kind kind = ERR_NONE;

    (void)state;
    assert_verdict(other_sig, "not among", ERR_DENIED);
    assert_non_null(
        strstr(verdict(sig, strlen(sig), NULL, 0, &kind), "not among"));
    assert_int_equal(kind, ERR_DENIED);
}

static void another_key_of_the_same_id_is_refused(void **state)
{
    struct minisign_key forged = other_key;
    enum err_kind kind = ERR_NONE;

    (void)state;
    memcpy(forged.id, key.id, sizeof(forged.id));
    assert_non_null(
        strstr(verdict(sig, strlen(sig), &forged, 1, &kind), "wrong"));
    assert_int_equal(kind, ERR_DENIED);
}

static void another_file_is_refused(void **state)
{
    (void)state;
    hash[63] ^= 1;
    assert_verdict(sig, "wrong for these bytes", ERR_DENIED);
    hash[63] ^= 1;
    assert_verdict(sig, NULL, ERR_NONE);
}

/* text with the first `from` replaced by `to` */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);

    assert_non_null(at);
    return mem_printf("%.*s%s%s", (int)(at - text), text, to,
                      at + strlen(from));
}

static void changed_texts_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *want;
        enum err_kind kind;
    } cases[] = {
        {"made for a test", "made for me", "comment was changed", ERR_DENIED},
        {"made for a test", "made for a test ", "comment was changed",
         ERR_DENIED},
        {"made for a test", "", "comment was changed", ERR_DENIED},
        {"trusted comment: made", "Trusted comment: made", "line 3", ERR_INPUT},
        {"untrusted comment: ", "comment: ", "line 1", ERR_INPUT},
        {"\nRU", "\nRW", "prehashed", ERR_INPUT},
        {"\nRU", "\n RU", "line 2", ERR_INPUT},
        {"\nRU", "\n\nRU", "line 2", ERR_INPUT},
        {"\nRU", "\nRUAA", "line 2", ERR_INPUT},
        {"\nRU", "\n=U", "line 2", ERR_INPUT},
        {"\ntrusted", "\ntrusted comment: x\ntrusted", "line 4", ERR_INPUT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        own_mem char *text = replaced(sig, cases[i].from, cases[i].to);

        assert_verdict(text, cases[i].want, cases[i].kind);
    }
}

static void a_cut_signature_is_refused_everywhere(void **state)
{
    size_t len = strlen(sig) - 1; /* the last newline may be missing */
    enum err_kind kind;

    (void)state;
    for (size_t cut = 0; cut < len; cut++)
        if (!*verdict(sig, cut, &key, 1, &kind))
            fail_msg("taken at %zu of %zu bytes", cut, len);
}

static void every_changed_byte_behind_the_first_line_is_noticed(void **state)
{
    own_mem char *text = mem_str(sig);
    enum err_kind kind;

    (void)state;
    for (size_t i = strcspn(text, "\n"); text[i + 1]; i++) {
        text[i] ^= 1;
        if (!*verdict(text, strlen(text), &key, 1, &kind))
            fail_msg("byte %zu of the signature is not covered", i);
        text[i] ^= 1;
    }
}

static void bytes_behind_the_signature_are_refused(void **state)
{
    own_mem char *text = mem_printf("%s\n", sig);
    own_mem char *twice = mem_printf("%s%s", sig, sig);

    (void)state;
    assert_verdict(text, "behind line 4", ERR_INPUT);
    assert_verdict(twice, "behind line 4", ERR_INPUT);
}

static void a_signature_above_the_limit_is_refused(void **state)
{
    own_mem char *text = mem_zero(MINISIGN_TEXT_MAX + 2, 1);
    enum err_kind kind = ERR_NONE;

    (void)state;
    memset(text, 'x', MINISIGN_TEXT_MAX + 1);
    assert_non_null(strstr(verdict(text, MINISIGN_TEXT_MAX + 1, &key, 1, &kind),
                           "at most"));
    assert_non_null(
        strstr(verdict(text, MINISIGN_TEXT_MAX, &key, 1, &kind), "line 1"));
}

static void a_key_is_read_with_and_without_its_comment(void **state)
{
    const char *bare = strchr(pub, '\n') + 1;
    struct minisign_key a, b;
    struct err e = {0};

    (void)state;
    assert_int_equal(minisign_key_parse(pub, &a, &e), 0);
    assert_int_equal(minisign_key_parse(bare, &b, &e), 0);
    assert_memory_equal(&a, &b, sizeof(a));
}

static void a_malformed_key_is_refused(void **state)
{
    const char *bare = strchr(pub, '\n') + 1;
    own_mem char *secret = slurp("a.key");
    own_mem char *two = mem_printf("%s%s", bare, bare);
    own_mem char *kind = replaced(bare, "RW", "RU");
    own_mem char *cut = mem_strn(bare, 52);
    own_mem char *indented = mem_printf(" %s", bare);
    own_mem char *huge = mem_zero(5000, 1);
    const char *cases[] = {
        "",   "\n",  "untrusted comment: x\n", two, kind, cut, sig, indented,
        huge, secret};

    (void)state;
    memset(huge, 'A', 4999);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct minisign_key k = {.id = {7}};
        struct err e = {0};

        if (minisign_key_parse(cases[i], &k, &e) == 0)
            fail_msg("taken: %s", cases[i]);
        assert_int_equal(e.kind, ERR_INPUT);
        assert_int_equal(k.id[0], 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_of_the_command_is_taken),
        cmocka_unit_test(line_ends_of_windows_are_taken),
        cmocka_unit_test(a_legacy_signature_is_refused),
        cmocka_unit_test(a_key_that_is_not_the_operators_is_refused),
        cmocka_unit_test(another_key_of_the_same_id_is_refused),
        cmocka_unit_test(another_file_is_refused),
        cmocka_unit_test(changed_texts_are_refused),
        cmocka_unit_test(a_cut_signature_is_refused_everywhere),
        cmocka_unit_test(every_changed_byte_behind_the_first_line_is_noticed),
        cmocka_unit_test(bytes_behind_the_signature_are_refused),
        cmocka_unit_test(a_signature_above_the_limit_is_refused),
        cmocka_unit_test(a_key_is_read_with_and_without_its_comment),
        cmocka_unit_test(a_malformed_key_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
