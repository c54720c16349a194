/* What a program has made of the terminal, seen in its output. */
#include "client/modes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct modes m;

static void see(const char *text, size_t step)
{
    const size_t len = strlen(text);

    modes_init(&m);
    for (size_t i = 0; i < len; i += step)
        modes_see(&m, (const uint8_t *)text + i,
                  len - i < step ? len - i : step);
}

static void modes_are_seen_in_any_pieces(void **state)
{
    static const struct {
        const char *text;
        bool is_alternate, may_draw;
        const char *anew;
    } rows[] = {
        {"hello\r\n", false, true, ""},
        {"\033[?1049h", true, true, "\033[?1049h"},
        {"\033[?47hx\033[?1049l", false, true, ""},
        {"\033[?1049h\033[?1049l", false, true, ""},
        {"\033[?1049h\033[?25l\033[?1;2004h", true, true,
         "\033[?1049h\033[?1h\033[?25l\033[?2004h"},
        {"\033[?25l\033[?25h\033[?7l\033[?7h", false, true, ""},
        {"\033=", false, true, "\033="},
        {"\033=\033>", false, true, ""},
        {"\0337", false, false, ""},
        {"\033[s", false, false, ""},
        {"\0337\033[?1049h", true, true, "\033[?1049h"},
        {"\033[?1049h\033[?1048h", true, false, "\033[?1049h"},
        {"\033[?6h", false, false, "\033[?6h"},
        {"\033[?6h\033[!p", false, true, ""},
        {"\033[?1000h\033c", false, true, ""},
        /* none of them sets a mode, or keeps a cursor */
        {"\033[1049h", false, true, ""},
        {"\033[>1u\033[<u\033[?u", false, true, ""},
        {"\033[?1049$p", false, true, ""},
        {"\033[?1049s", false, true, ""},
        {"\033[31;1m\033[2J\033[H", false, true, ""},
        /* ESC ends a string, and begins what it begins */
        {"\033]2;x\033[?1049h", true, true, "\033[?1049h"},
        {"\033]2;[?1049h\007", false, true, ""},
        {"\033P[?1049h\033\\", false, true, ""},
        {"\033[?10\03049h", false, true, ""},
        {"\033[?1049", false, false, ""}, /* in the midst of one */
        {"\033]2;title", false, false, ""},
        {"\033[?99999999999999999999h", false, true, ""},
        {"\033[?1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;1049h", false, false,
         NULL}, /* no such list is sent: what is kept of it is bounded */
    };
    char anew[MODES_ANEW_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t step = 1; step <= 9; step++) {
            see(rows[i].text, step);
            anew[modes_anew(&m, anew)] = 0;
            if (modes_is_alternate(&m) != rows[i].is_alternate ||
                modes_may_draw(&m) != rows[i].may_draw ||
                (rows[i].anew && strcmp(anew, rows[i].anew) != 0))
                fail_msg("row %zu in %zus", i, step);
        }
}

static void a_progress_bar_is_remembered(void **state)
{
    static const struct {
        const char *text;
        bool has_one;
    } rows[] = {{"\033]9;4;1;50\007", true}, {"\033]9;4;3\033\\\033c", true},
                {"\033]9;4", true},          {"\033]9;hello\007", false},
                {"\033]19;4;1\007", false},  {"\033]2;9;4;1\007", false},
                {"\033P9;4;1\033\\", false}, {"9;4;1", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t step = 1; step <= 9; step++) {
            see(rows[i].text, step);
            if (modes_has_progress(&m) != rows[i].has_one)
                fail_msg("row %zu in %zus", i, step);
        }
}

/* As long as the longest answer can be. */
static void all_of_them_fit(void **state)
{
    char anew[MODES_ANEW_MAX];

    (void)state;
    see("\033[?1049h\033[?1;5;6;9;12;45;66;69h\033[?7;25l\033=\033[?1000;1002;"
        "1003;1004;1005;1006;1007;1015;1016;2004;2031;2048h",
        1);
    assert_true(modes_anew(&m, anew) < MODES_ANEW_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modes_are_seen_in_any_pieces),
        cmocka_unit_test(a_progress_bar_is_remembered),
        cmocka_unit_test(all_of_them_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
