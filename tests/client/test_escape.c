/* The escape key: what is typed goes on byte for byte, but for what is meant
 * for podterm. */
#include "client/escape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY '~'
#define PASTE "\033[200~"
#define PASTED "\033[201~"

/* Typed in pieces of `step` bytes; what went on, and each act as a letter. */
static void typed(int key, const char *text, size_t step, char out[128],
                  char acts[16])
{
    struct escape d;
    const size_t all = strlen(text);
    size_t n = 0, count = 0;

    escape_init(&d, key);
    for (size_t at = 0; at < all;) {
        size_t len = all - at < step ? all - at : step;
        enum escape_act act;

        n += escape_take(&d, (const uint8_t *)text + at, &len,
                         (uint8_t *)out + n, &act);
        assert_true(len > 0);
        at += len;
        if (act)
            acts[count++] = "-daekzh"[act];
    }
    out[n] = 0;
    acts[count] = 0;
}

static void acts_are_known_in_any_pieces(void **state)
{
    static const struct {
        const char *text, *out, *acts;
    } rows[] = {
        {"~.", "", "d"},
        {"ls\r~.", "ls\r", "d"},
        {"ls\n~.", "ls\n", "d"},
        {"\r\r~.", "\r\r", "d"},
        {"~b\r~.", "~b\r", "d"},
        {"a~.", "a~.", ""},
        {" ~.", " ~.", ""},
        {"~~.", "~.", ""},
        {"~~~.", "~~.", ""},
        {"~\r~.", "~\r", "d"},
        {"~/x\r", "~/x\r", ""},
        {"~ .", "~ .", ""},
        {"\r~", "\r", ""}, /* held: it may become one */
        {"\033[A~.", "\033[A~.", ""},
        {"\x03~.", "\x03~.", ""},
        {"\r\033~.", "\r\033~.", ""}, /* of vi */
        {"~?ls\r", "ls\r", "h"},
        {"~?~.", "", "hd"},
        {"~\x1als\r", "ls\r", "z"},
        {"~xy", "", "ae"},
        {"~xY", "", "ae"},
        {"~xn", "", "ak"},
        {"~x\rls\r", "ls\r", "ak"},
        {"~x~.", ".", "ak"},
        {"a\r~xn~.", "a\r", "akd"},
        /* a paste is the program's, and the line goes on behind it */
        {PASTE "~." PASTED, PASTE "~." PASTED, ""},
        {PASTE "a\r~.\r~xy" PASTED, PASTE "a\r~.\r~xy" PASTED, ""},
        {PASTE "a\r" PASTED "~.", PASTE "a\r" PASTED, "d"},
        {PASTE "a\rb" PASTED "~.", PASTE "a\rb" PASTED "~.", ""},
        {"\r" PASTE PASTED "~.", "\r" PASTE PASTED, "d"},
        {"\033\033[200~\r~." PASTED, "\033\033[200~\r~." PASTED, ""},
        {"\r~" PASTE "x" PASTED, "\r~" PASTE "x" PASTED, ""},
    };
    char out[128], acts[16];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t step = 1; step <= 7; step++) {
            typed(KEY, rows[i].text, step, out, acts);
            if (strcmp(acts, rows[i].acts) || strcmp(out, rows[i].out) != 0)
                fail_msg("%zu in %zus: \"%s\" %s", i, step, out, acts);
        }
}

/* A key is held, and the byte behind it may be all there is room for. */
static void one_byte_more_than_typed_at_most(void **state)
{
    struct escape d;
    enum escape_act act;
    uint8_t out[2];
    size_t len = 1;

    (void)state;
    escape_init(&d, KEY);
    assert_int_equal(escape_take(&d, (const uint8_t *)"~", &len, out, &act), 0);
    assert_true(d.is_held);
    assert_int_equal(escape_take(&d, (const uint8_t *)"b", &len, out, &act), 2);
    assert_memory_equal(out, "~b", 2);
    assert_false(d.is_held);
}

static void another_key_or_none_leaves_this_one_alone(void **state)
{
    char out[128], acts[16];

    (void)state;
    typed(ESCAPE_NONE, "~.\r~.", 1, out, acts);
    assert_string_equal(out, "~.\r~.");
    assert_string_equal(acts, "");
    typed(0x1d, "~.\r\x1d.", 2, out, acts);
    assert_string_equal(out, "~.\r");
    assert_string_equal(acts, "d");
}

/* What the program gets of `text`, by another road than the module's. */
static void expected(const char *text, char *out, bool *is_out)
{
    bool is_start = true;
    size_t n = 0;

    *is_out = false;
    for (const char *c = text; *c; c++) {
        if (is_start && c[0] == '~' && c[1] == '.') {
            *is_out = true;
            break;
        }
        if (is_start && c[0] == '~' && !c[1])
            break; /* held */
        if (is_start && c[0] == '~' && c[1] == '~')
            c++;
        else if (is_start && c[0] == '~')
            out[n++] = *c++;
        out[n++] = *c;
        is_start = *c == '\r';
    }
    out[n] = 0;
}

/* Whatever is typed: without an act in it, it comes through as it is. */
static void nothing_typed_is_changed(void **state)
{
    static const char letters[] = "~.\ra";

    (void)state;
    for (int code = 0; code < 4 * 4 * 4 * 4 * 4; code++) {
        char text[6] = "", out[128], want[8], acts[16], *cut;
        bool is_out;

        for (int i = 0, rest = code; i < 5; i++, rest /= 4)
            text[i] = letters[rest % 4];
        expected(text, want, &is_out);
        typed(KEY, text, 2, out, acts);
        assert_int_equal(acts[0] == 'd', is_out);
        cut = out + strlen(want);
        if (is_out)
            *cut = 0; /* what comes behind is nobody's */
        assert_string_equal(out, want);
    }
}

static void keys_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int key;
    } good[] = {{"~", '~'},   {"none", ESCAPE_NONE},
                {"^]", 0x1d}, {"^a", 1},
                {"^A", 1},    {"^", '^'},
                {"^@", 0},    {"^_", 0x1f},
                {"^[", 0x1b}};
    static const char *const bad[] = {
        "",   ".", " ", "~~", "^M",   "^J",   "^C",  "^\\",
        "^Z", "x", "?", "\r", "\x03", "None", "^^^", "\xc3\xa9"};
    char name[16];
    struct err e = {0};
    int key;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_int_equal(escape_key(good[i].text, &key, &e), 0);
        assert_int_equal(key, good[i].key);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        key = 7;
        if (escape_key(bad[i], &key, &e) == 0)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_non_null(strstr(e.text, "--escape"));
        assert_int_equal(key, 7);
    }
    escape_name(0x1d, name);
    assert_string_equal(name, "Ctrl-]");
    escape_name('~', name);
    assert_string_equal(name, "~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acts_are_known_in_any_pieces),
        cmocka_unit_test(one_byte_more_than_typed_at_most),
        cmocka_unit_test(another_key_or_none_leaves_this_one_alone),
        cmocka_unit_test(nothing_typed_is_changed),
        cmocka_unit_test(keys_are_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
