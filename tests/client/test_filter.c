/* What of a program's output reaches the user's terminal. */
#include "client/filter.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define E "\033"

static bool is_again; /* what is filtered was shown before */

/* Filtered in one call, and byte by byte: both must give `want`. */
static void check(const char *in, size_t in_len, const char *want,
                  size_t want_len)
{
    uint8_t whole[1024], bytewise[1024];
    struct filter f;
    size_t len, at = 0;

    assert_true(in_len + FILTER_HELD_MAX < sizeof(whole));
    filter_init(&f);
    f.is_again = is_again;
    len = filter_run(&f, (const uint8_t *)in, in_len, whole);
    filter_init(&f);
    f.is_again = is_again;
    for (size_t i = 0; i < in_len; i++)
        at += filter_run(&f, (const uint8_t *)in + i, 1, bytewise + at);
    if (len != want_len || memcmp(whole, want, len) != 0) {
        for (size_t i = 0; i < in_len; i++)
            fprintf(stderr, "%02x ", (unsigned char)in[i]);
        fprintf(stderr, "\ngave ");
        for (size_t i = 0; i < len; i++)
            fprintf(stderr, "%02x ", whole[i]);
        fail_msg("not what was wanted");
    }
    assert_int_equal(at, len);
    assert_memory_equal(bytewise, whole, len);
}

#define CHECK(in, want) check(in, sizeof(in) - 1, want, sizeof(want) - 1)
#define PASSES(in) CHECK("a" in "b", "a" in "b")
#define DROPPED(in) CHECK("a" in "b", "ab")

static void text_and_common_sequences_pass_unchanged(void **arg)
{
    (void)arg;
    PASSES("hello\r\n\tworld\b\a\013\014\016\017\177");
    PASSES("caf\303\251 \342\234\223 \360\237\230\200 \302\240");
    PASSES("\343\202\233\343\220\235"); /* continuation bytes 9b, 90, 9d */
    PASSES(E "[0;1;38;2;1;2;3m" E "[38:2::1:2:3m" E "[H" E "[2J" E "[K");
    PASSES(E "[?1049h" E "[?25l" E "[?1000;1006h" E "[?2004h" E "[?7l");
    PASSES(E "[c" E "[>c" E "[6n" E "[?2026$p" E "[>q" E "[?u" E "[>1u");
    PASSES(E "[18t" E "[14t" E "[22;0t" E "[23;0t" E "[8;20;21t" E "[20;1$t");
    PASSES(E "7" E "8" E "c" E "=" E ">" E "(B" E ")0" E "#8" E "%G" E " F");
    PASSES(E "[1;1;20;20$z" E "[2 q" E "[!p" E "[?2h" E "[?38l" E "[4l");
    PASSES(E "]0;title\a" E "]2;\303\251\342\234\235" E "\\" E "]1;x\234");
    PASSES(E "]8;id=1;https://example.org/" E "\\x" E "]8;;" E "\\");
    PASSES(E "]11;?" E "\\" E "]4;1;rgb:1/2/3\a" E "]104\a" E "]112" E "\\");
    PASSES(E "]9;4;1;50\a" E "]133;A\a" E "]7;file://h/d\a" E "]22;text\a");
    PASSES("\302\233"
           "31m"
           "\302\235"
           "0;t\302\234"
           "\302\205"
           "\302\215");
    PASSES("\233"
           "31m"
           "\2350;t\234"
           "\205");
    PASSES("caf\351 na\357ve \374ber \300 \365"); /* Latin-1, alone */
}

static void the_clipboard_is_out_of_reach_however_it_is_written(void **arg)
{
    (void)arg;
    DROPPED(E "]52;c;aGk=\a");
    DROPPED(E "]52;c;?" E "\\");
    DROPPED(E "]052;c;?\a");
    DROPPED(E "] 52;c;?\a");
    DROPPED(E "]5 2;c;?\a");
    DROPPED(E "]+52;c;?\a");
    DROPPED(E "]4294967348;c;?\a");
    DROPPED(E "]52\a" E "]\a" E "];52\a" E "]52" E "\\");
    DROPPED("\23552;c;?\234");
    DROPPED("\302\235"
            "52;c;?\302\234");
    DROPPED(E "]52;c;?\302\234");
    DROPPED("\302\235"
            "52;c;?\a");
    DROPPED(E "]5\0002;c;?\a"); /* controls within are ignored */
    DROPPED(E "]\r5\n2\t;c;?\a");
    CHECK("a" E "\0\r]52;c;?\ab", "a\0\rb"); /* carried out, then dropped */
    DROPPED(E E E "]52;c;?\a");
    DROPPED(E "[3" E "]52;c;?\a");
    DROPPED(E "(" E "]52;c;?\a");
    DROPPED(E "]50;?\a" E "]1337;Copy=:aGk=\a" E "]5522;type=read\a");
    DROPPED(E "]99;i=x:p=?;\a" E "]21;x=?\a" E "]701;?\a" E "]46;/tmp/x\a");
    DROPPED(E "]9;6;macro\a" E "]9;text\a" E "]9;44;x\a" E "]777;notify;a\a");
    DROPPED(E "]L name\a" E "]P0ffffff\a" E "]83;cmd\a");
}

static void strings_of_commands_are_dropped(void **arg)
{
    (void)arg;
    DROPPED(E "P$qm" E "\\");
    DROPPED(E "P+q544e" E "\\");
    DROPPED(E "_Gi=1;AAAA" E "\\");
    DROPPED(E "^message" E "\\");
    DROPPED(E "Xstring" E "\\");
    DROPPED("\220q\234"
            "\230s\234"
            "\236p\234"
            "\237a\234");
    DROPPED("\302\220q\302\234"
            "\302\230s\302\234"
            "\302\236p\302\234"
            "\302\237a\302\234");
    DROPPED(E "Pa\ab\r\nc\342\234\223\342\200\234" E "\\"); /* no BEL, no ST */
    DROPPED(E "Px\001" E "\\");
    CHECK("a" E "Ptmux;" E E "]52;c;?\a" E "\\b", "a" E "\\b");
    CHECK("a" E "}pn/x\0b", "apn/x\0b"); /* harmless without its head */
}

/* Text to one terminal, the head of an endless string to another. */
static void the_titles_of_screen_and_tmux_are_dropped(void **arg)
{
    (void)arg;
    DROPPED(E "ktitle" E "\\");
    DROPPED(E "k" E "\\" E "ka\ab\r\nc\342\234\223" E "\\");
    DROPPED(E "ktitle\234" E "k\302\234");
    DROPPED(E E "kt" E "\\" E "[3" E "kt" E "\\" E "(k");
    DROPPED(E "kt" E "]52;c;?\a" E "kt" E "\\");
    CHECK(E "kabc\030x", "x");
    CHECK(E "kabc" E "[31mx", E "[31mx");
    CHECK(E "]0;abc" E "kt" E "\\x", E "]0;abc\030x");
    CHECK(E "k** " E "[1mx", E "[1mx");
}

static void answers_with_text_of_others_are_not_asked_for(void **arg)
{
    (void)arg;
    DROPPED("\005");
    CHECK(E "[3\0051m", E "[31m");
    CHECK(E "]0;a\005b\a", E "]0;ab\a");
    DROPPED(E "[20t" E "[21t" E "[021t" E "[21;0t" E "[21:0t" E "[>21t");
    DROPPED(E "[?21t" E "[21 t" E "[4294967317t" E "[t" E "[;21t" E "[2?1t");
    DROPPED("\23321t"
            "\302\233"
            "21t");
    CHECK(E "[2\0001t", "\0");
    CHECK(E "[2\r\n1t", "\r\n");
    DROPPED(E "[2\1771t");
    CHECK(E "[21\303\264", "\303\264"); /* t + 0x80 */
    DROPPED(E "[1;1;1;1;1;1*y" E "[4;1y" E "[1$w" E "[1$u" E "[&u" E "[3*z");
    DROPPED(E "[5i" E "[?5i" E "[i");
    DROPPED(E "[2  1m" E "[ 1m" E "[1<m"); /* malformed */
}

static void the_terminal_stays_what_the_filter_takes_it_for(void **arg)
{
    (void)arg;
    DROPPED(E "[?2l" E "[?02l" E "[?7;2l" E "[?2;7l" E "[?4294967298l");
    DROPPED(E "[?38h" E "[?1;38h");
    DROPPED(E "%@" E "%8" E "%/B" E "%/G" E "%!0");
    DROPPED(E "(]" E " P" E "#["); /* a lax terminal would begin a string */
    /* overlong: ESC, ENQ and U+009D of a lax decoder */
    CHECK("\300\2332m", "\2332m");
    CHECK("\300\233]52;c;?\a", "\233]52;c;?\a"); /* text: no OSC there */
    CHECK("\301\235"
          "52;c;?\a",
          "");
    CHECK("\340\202\235"
          "52;c;?\a",
          "\202");
    CHECK("\360\200\202\235"
          "52;c;?\a",
          "\200\202");
    CHECK("\370\200\200\202\235"
          "52;\a",
          "\200\200\202");
    /* cut short: a decoder that begins anew would see U+009B */
    CHECK("\344\233"
          "21t\342\234x",
          "\344"
          "21t\342x");
    DROPPED("\030"); /* "**" CAN "B00": ZMODEM */
    PASSES("\032");
}

static void what_nobody_could_set_back_is_dropped(void **arg)
{
    (void)arg;
    DROPPED(E "[?67h" E "[?67l" E "[?1046l" E "[?1046h" E "[?25;67h");
    DROPPED(E "[?1050h" E "[?1051h" E "[?1052h" E "[?1053h" E "[?1060h" E
              "[?1061h" E "[?1061l");
    DROPPED(E "[61\"p" E "[65;1\"p" E "[>3p" E "[>p");
    CHECK(E "[67h" E "[!p" E "[?67$p" E "[?1049h",
          E "[67h" E "[!p" E "[?67$p" E "[?1049h");
}

static void a_string_ends_where_a_terminal_ends_it(void **arg)
{
    (void)arg;
    CHECK(E "Pabc\030x", "x");
    CHECK(E "Pabc\032x", "\032x");
    CHECK(E "Pabc" E "[31mx", E "[31mx");
    CHECK(E "]52;abc" E "cx", E "cx");
    CHECK(E "]52;abc" E "P" E "]0;t\ax", E "]0;t\ax");
    CHECK(E "Pabc\302\233"
            "31mx",
          "\302\233"
          "31mx");
    CHECK(E "]0;abc\030x", E "]0;abc\030x");
    CHECK(E "]0;abc" E "[31mx", E "]0;abc" E "[31mx");
    /* the terminal is in a string that passed; what would have ended it is
     * dropped: CAN ends it instead */
    CHECK(E "]0;abc" E "]52;c;?\ax", E "]0;abc\030x");
    CHECK(E "]0;abc" E "Pq" E "\\x", E "]0;abc\030x");
    CHECK(E "]0;abc" E "[21tx", E "]0;abc\030x");
    CHECK(E "]0;abc\302\205x", E "]0;abc\030x");
    CHECK(E "]0;abc\302\235"
            "52;c;?\302\234x",
          E "]0;abc\030x");
    CHECK(E "]0;a\r\n\177b\a", E "]0;ab\a");
    CHECK(E "[31\030mx", "mx");
    CHECK(E "[31\032mx", "\032mx");
}

static void nothing_grows_however_long_a_string_is(void **arg)
{
    enum { CHUNK = 65536 };
    uint8_t *in = mem_zero(1, CHUNK), *out;
    struct filter f;
    size_t len = 0;

    (void)arg;
    out = mem_zero(1, CHUNK + FILTER_HELD_MAX);
    memset(in, '1', CHUNK);
    for (int kind = 0; kind < 4; kind++) {
        static const char *const heads[] = {E "P", E "]52;", E "[", E "]"};

        filter_init(&f);
        len = filter_run(&f, (const uint8_t *)heads[kind], strlen(heads[kind]),
                         out);
        for (int i = 0; i < 64; i++)
            len += filter_run(&f, in, CHUNK, out);
        assert_int_equal(len, 0);
        len = filter_run(&f, (const uint8_t *)"m" E "\\x", 4, out);
        assert_true(len >= 1 && out[len - 1] == 'x');
    }
    /* one that passes ends at its limit */
    filter_init(&f);
    filter_run(&f, (const uint8_t *)E "]0;", 4, out);
    len = filter_run(&f, in, CHUNK, out);
    assert_in_range(len, FILTER_STRING_MAX - 8, FILTER_STRING_MAX + 1);
    assert_int_equal(out[len - 1], 030);
    assert_int_equal(filter_run(&f, in, CHUNK, out), 0);
    assert_int_equal(filter_run(&f, (const uint8_t *)"\ax", 2, out), 1);
    free(in);
    free(out);
}

static void a_long_but_real_attribute_list_passes(void **arg)
{
    char in[FILTER_HELD_MAX * 2];
    int n = snprintf(in, sizeof(in), E "[0");

    (void)arg;
    while (n < 200)
        n += snprintf(in + n, sizeof(in) - (size_t)n, ";38;2;255;255;255");
    in[n++] = 'm';
    check(in, (size_t)n, in, (size_t)n);
}

static int shown_before(void **arg)
{
    (void)arg;
    is_again = true;
    return 0;
}

static int shown_now(void **arg)
{
    (void)arg;
    is_again = false;
    return 0;
}

static void what_was_shown_before_asks_nothing(void **arg)
{
    (void)arg;
    DROPPED(E "[c");
    DROPPED(E "[0c" E "[>c" E "[>0c" E "[=c" E "Z");
    DROPPED(E "[5n" E "[6n" E "[?6n" E "[?996n" E "[n");
    DROPPED(E "[x" E "[1x" E "[?2026$p" E "[4$p" E "[>q" E "[>0q");
    DROPPED(E "[?u" E "[?4m" E "[?1;1;0S" E "[1#R" E "[#|" E "['|");
    DROPPED(E "[11t" E "[13t" E "[13;2t" E "[14t" E "[14;2t" E "[15t" E "[16t" E
              "[18t" E "[19t");
    DROPPED("\302\233"
            "c"
            "\233"
            "6n"
            "\232"
            "\302\232");
    CHECK(E "]11;?" E "\\" E "]4;1;?;2;#abc\a",
          E "]11;#" E "\\" E "]4;1;#;2;#abc\a");
    CHECK(E "]10;?;?;?\a" E "]22;?__current__\a" E "]19;?" E "\\",
          E "]10;#;#;#\a" E "]22;#__current__\a" E "]19;#" E "\\");
    DROPPED(E "]52;c;?\a"); /* as ever */
}

static void what_was_shown_before_looks_as_it_did(void **arg)
{
    (void)arg;
    PASSES("why? ?u 6n c" E "[31m" E "[>4;2m" E "[?25l" E "[?1c" E "[>4n");
    PASSES(E "[2 q" E "[!p" E "[>1u" E "[u" E "[2S" E "[1;2;3;4$x" E "[22;0t");
    PASSES(E "[8;20;21t" E "[20;1$t" E "[1 R" E "7" E "8" E "c" E "(B");
    PASSES(E "]0;really?\a" E "]8;;https://e.example/?q=1" E "\\" E
             "]7;file://h/a?b" E "\\" E "]133;A?\a" E "]11;#123456\a");
    PASSES("caf\303\251 \342\232\232"); /* a continuation byte 9a */
}

/* Cut at every byte, what it is is known at its end. */
static void what_is_new_may_ask_again(void **arg)
{
    static const char in[] = E "[6n" E "]11;?\a" E "[c" E "]4;1;?\a";
    uint8_t out[2 * sizeof(in) + FILTER_HELD_MAX];

    (void)arg;
    for (size_t cut = 0; cut < sizeof(in); cut++) {
        struct filter f;
        size_t len;

        filter_init(&f);
        f.is_again = true;
        len = filter_run(&f, (const uint8_t *)in, cut, out);
        f.is_again = false;
        len += filter_run(&f, (const uint8_t *)in + cut, sizeof(in) - 1 - cut,
                          out + len);
        out[len] = '\0';
        assert_int_equal(strstr((char *)out, "[6n") != NULL, cut < 4);
        assert_int_equal(strstr((char *)out, "]11;?") != NULL, cut < 10);
        assert_int_equal(strstr((char *)out, "[c") != NULL, cut < 14);
    }
}

#define AGAIN(name)                                                            \
    cmocka_unit_test_setup_teardown(name, shown_before, shown_now)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_common_sequences_pass_unchanged),
        cmocka_unit_test(the_clipboard_is_out_of_reach_however_it_is_written),
        cmocka_unit_test(strings_of_commands_are_dropped),
        cmocka_unit_test(the_titles_of_screen_and_tmux_are_dropped),
        cmocka_unit_test(answers_with_text_of_others_are_not_asked_for),
        cmocka_unit_test(the_terminal_stays_what_the_filter_takes_it_for),
        cmocka_unit_test(what_nobody_could_set_back_is_dropped),
        cmocka_unit_test(a_string_ends_where_a_terminal_ends_it),
        cmocka_unit_test(nothing_grows_however_long_a_string_is),
        cmocka_unit_test(a_long_but_real_attribute_list_passes),
        AGAIN(what_was_shown_before_asks_nothing),
        AGAIN(what_was_shown_before_looks_as_it_did),
        cmocka_unit_test(what_is_new_may_ask_again),
    };

    return cmocka_run_group_tests_name("client/filter", tests, NULL, NULL);
}
