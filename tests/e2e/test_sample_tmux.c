/*
 * The sample CLI in a terminal as people have one (tmux, and a shell in it):
 * the list as it stands at the end, whatever became of the terminal meanwhile,
 * with nothing of earlier frames left, not even in the scrollback.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tmux.h"
#include "tests/lib/tree.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 20000

/* Says a line each 50 ms until the file "enough" is there, which stops it. */
#define CLAUDE                                                                 \
    "#!/bin/sh\ncat >/dev/null\ni=0\nuntil [ -e \"$0.enough\" ]; do\n"         \
    "i=$((i+1))\nprintf '{\"type\":\"stream_event\",\"event\":{\"type\":"      \
    "\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":"     \
    "\"answered line %d, and some more words\\\\n\"}}}\\n' $i\nsleep 0.05\n"   \
    "done\necho '{\"type\":\"result\",\"subtype\":\"success\","                \
    "\"is_error\":false,\"result\":\"x\"}'\n"

/* All that stands there of the list at the end, before its report. */
#define ENDED                                                                  \
    "looks over .\n\n"                                                         \
    "✔ Walk the tree               2 files in 2 directories, 15 bytes\n"     \
    "✔ Read the files              2 lines in 2 languages\n"                 \
    "✔ Rules\n"                                                              \
    "  ✔ Large files               none\n"                                   \
    "  ✔ Binary files              none\n"                                   \
    "  ✔ Long lines                none\n"                                   \
    "  ✔ Trailing blanks           1 found\n"                                \
    "  ✔ Marks of unfinished work  none\n"                                   \
    "  ✔ Ends of lines             none\n"                                   \
    "  ✔ Duplicate files           none\n"                                   \
    "✔ Review by Claude            by the claude command"
#define ENDED_40                                                               \
    "looks over .\n\n"                                                         \
    "✔ Walk the tree               2 files …\n"                            \
    "✔ Read the files              2 lines …\n"                            \
    "✔ Rules\n"                                                              \
    "  ✔ Large files               none\n"                                   \
    "  ✔ Binary files              none\n"                                   \
    "  ✔ Long lines                none\n"                                   \
    "  ✔ Trailing blanks           1 found\n"                                \
    "  ✔ Marks of unfinished work  none\n"                                   \
    "  ✔ Ends of lines             none\n"                                   \
    "  ✔ Duplicate files           none\n"                                   \
    "✔ Review by Claude            "

static struct tmux t;
static char *dir, *settings, *modes;

/* A line for the shell in the terminal. */
static void shell(const char *line)
{
    tmux_type(&t, line);
    tmux_key(&t, "Enter");
}

/* The terminal's settings as a program finds them that the shell starts, the
 * caller's. (The shell's own line editor has others.) */
static char *cooked(void)
{
    own_mem char *path = mem_printf("%s/stty", dir);
    own_mem char *line =
        mem_printf("stty -a >%s.part; mv %s.part %s", path, path, path);
    const int64_t until = loop_now_ms() + SOON_MS;
    char *out;
    size_t len;

    shell(line);
    while (access(path, R_OK) < 0) {
        assert_true(loop_now_ms() < until);
        poll(NULL, 0, 20);
    }
    out = tree_get(path, &len);
    unlink(path);
    return out;
}

/* The size does not count, nor does the title of the pane. */
static char *without_size(char *text)
{
    char *at = strstr(text, "rows ");

    while (at && *at && *at != '\n')
        *at++ = '-';
    return text;
}

static void begin(int cols, int rows)
{
    own_mem char *exe = program_path("sample-cli");
    own_mem char *claude = mem_printf("%s/bin/claude", dir);
    own_mem char *go = mem_printf("%s/bin/go", dir);
    own_mem char *env = NULL, *script = NULL;

    tree_put(dir, "tree/a.c", "int a; \n");
    tree_put(dir, "tree/b/c.h", "int b;\n");
    tree_put(dir, "bin/claude", CLAUDE);
    script =
        mem_printf("#!/bin/sh\ncd %s/tree && exec %s \"$@\" .\n", dir, exe);
    tree_put(dir, "bin/go", script);
    chmod(claude, 0755);
    chmod(go, 0755);
    tmux_start(&t, cols, rows);
    env = mem_printf("PATH=%s/bin:$PATH LC_ALL=C.UTF-8; export LC_ALL; unset "
                     "ANTHROPIC_API_KEY ANTHROPIC_BASE_URL NO_COLOR; clear",
                     dir);
    shell(env);
    tmux_expect_no(&t, "unset", SOON_MS);
    settings = without_size(cooked());
    modes = tmux_modes(&t);
    shell("clear; tmux clear-history -t $TMUX_PANE 2>/dev/null");
    tmux_expect_no(&t, "stty", SOON_MS);
}

static int setup(void **state)
{
    (void)state;
    unsetenv("TMUX");
    dir = scratch_new();
    t = (struct tmux){0};
    settings = modes = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tmux_stop(&t);
    free(settings);
    free(modes);
    scratch_remove(dir);
    return 0;
}

/* The answer may end now. */
static void enough(void)
{
    tree_put(dir, "bin/claude.enough", "");
}

/* All that is there, the scrollback as well, the caller's. */
static char *all(bool with_colors)
{
    const char *argv[] = {"tmux", "-L", t.name, "capture-pane",
                          "-p",   "-S", "-",    with_colors ? "-e" : NULL,
                          NULL};
    struct child c = {.argv = argv};
    char *out;

    child_expect(&c, 0);
    out = mem_str(c.out);
    child_fini(&c);
    return out;
}

/* How often it stands there. */
static int times(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void has_once(const char *text, const char *what)
{
    if (times(text, what) != 1)
        fail_msg("\"%s\" is there %d times:\n%s", what, times(text, what),
                 text);
}

static void has_none(const char *text, const char *what)
{
    if (strstr(text, what))
        fail_msg("\"%s\" is there:\n%s", what, text);
}

/* The list stands there whole and once; of what ran, nothing. */
static void expect_list(const char *want)
{
    own_mem char *text = NULL;
    static const char *const spins[] = {"⠋", "⠙", "⠹", "⠸", "⠼",
                                        "⠴", "⠦", "⠧", "⠇", "⠏"};
    static const char *const titles[] = {
        "Walk the tree",    "Read the files",         "Rules",
        "Review by Claude", "Ask the claude command", "Ask the Messages API"};

    tmux_expect(&t, "left", SOON_MS);
    text = all(false);
    has_once(text, want);
    for (size_t i = 0; i < sizeof(spins) / sizeof(*spins); i++)
        has_none(text, spins[i]);
    for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++)
        has_once(text, titles[i]);
    has_none(text, "· ");
    has_none(text, "more\n");
    has_once(text, "answered line 1,"); /* in the report alone */
    has_once(text, "1 finding in 2 files\n");
}

/* The shell has its terminal as it was. */
static void expect_as_before(void)
{
    own_mem char *now = without_size(cooked()), *now_modes = tmux_modes(&t);
    char *scroll = strstr(now_modes, "scroll");

    assert_string_equal(now, settings);
    /* (up to the lines of the scroll region, which are its size) */
    assert_non_null(scroll);
    assert_memory_equal(now_modes, modes, (size_t)(scroll - now_modes));
}

/* Start it and wait until it is in the midst of its last stage. */
static void midst(const char *line)
{
    shell(line);
    tmux_expect(&t, "answered line 3", SOON_MS);
}

static void at_80x24_the_list_stands_whole(void **state)
{
    own_mem char *now = NULL;

    (void)state;
    begin(80, 24);
    midst("go; echo le''ft");
    now = tmux_screen(&t);
    has_once(now, "✔ Rules\n");
    has_once(now, "Ask the claude command");
    has_once(now, "  · Ask the Messages API\n");
    assert_int_equal(times(now, "    answered line"), times(now, "answered"));
    enough();
    expect_list(ENDED);
    expect_as_before();
}

/* 14 lines of a list, on 10 rows. */
static void at_40x10_no_line_is_lost_or_doubled(void **state)
{
    own_mem char *now = NULL;

    (void)state;
    begin(40, 10);
    midst("go; echo le''ft");
    tmux_expect(&t, "answered line 9", SOON_MS);
    now = tmux_screen(&t);
    has_once(now, "Review by Claude"); /* what runs is in view */
    has_once(now, "Ask the claude command");
    has_once(now, "… ");
    enough();
    expect_list(ENDED_40);
    expect_as_before();
}

/* As a hand does it that pulls at the window's border: tmux breaks the lines
 * at once and tells the size later. */
static void resizes_leave_nothing_behind(void **state)
{
    /* (also lower ones than the list that is drawn is high) */
    static const int sizes[][2] = {{60, 24},  {100, 24}, {50, 24}, {120, 30},
                                   {80, 24},  {70, 15},  {40, 10}, {80, 24},
                                   {100, 30}, {40, 8},   {90, 24}, {80, 24}};
    /* A list that grows meets these only where they do not follow at once: it
     * would leave blank rows (screen.h). */
    static const int low[][2] = {{80, 5},  {80, 24}, {30, 6},
                                 {80, 24}, {80, 3},  {80, 24}};

    (void)state;
    begin(80, 24);
    midst("go; echo le''ft");
    for (int way = 0; way < 2; way++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            tmux_resize(&t, sizes[i][0], sizes[i][1]);
            poll(NULL, 0, way ? 300 : 60);
        }
    }
    for (size_t i = 0; i < sizeof(low) / sizeof(*low); i++) {
        poll(NULL, 0, 500);
        tmux_resize(&t, low[i][0], low[i][1]);
    }
    poll(NULL, 0, 500);
    {
        own_mem char *text = all(false);

        has_once(text, "Review by Claude");
        has_once(text, "Gather what is sent");
        has_once(text, "Duplicate files");
    }
    enough();
    expect_list(ENDED);
    expect_as_before();
}

/* One that ends narrower is drawn for that. */
static void a_narrower_terminal_stays_so(void **state)
{
    (void)state;
    begin(80, 24);
    midst("go; echo le''ft");
    tmux_resize(&t, 40, 20);
    poll(NULL, 0, 500);
    enough();
    tmux_expect(&t, "left", SOON_MS);
    {
        own_mem char *text = all(false);

        has_once(text, "\n✔ Review by Claude            by the c");
        has_once(text, "  ✔ Ask the claude command");
        has_once(text, "Duplicate files");
    }
    expect_as_before();
}

static void no_color_is_without_colours(void **state)
{
    own_mem char *with = NULL, *without = NULL;

    (void)state;
    begin(80, 24);
    enough();
    shell("go; echo le''ft");
    tmux_expect(&t, "left", SOON_MS);
    with = all(true);
    assert_non_null(strstr(with, "\033[32m"));
    shell("clear; history -c; NO_COLOR=1 go; echo le''ft again");
    tmux_expect(&t, "left again", SOON_MS);
    without = all(true);
    assert_non_null(strstr(without, "✔ Rules"));
    assert_null(strchr(without, '\033'));
}

static void a_dumb_terminal_and_a_pipe_get_plain_lines(void **state)
{
    own_mem char *out = mem_printf("%s/out", dir);
    own_mem char *dumb = mem_printf("%s/dumb", dir);
    own_mem char *line = NULL;

    (void)state;
    begin(80, 24);
    enough();
    line = mem_printf("go | cat >%s; TERM=dumb script -qec go %s >/dev/null; "
                      "echo le''ft",
                      out, dumb);
    shell(line);
    tmux_expect(&t, "left", SOON_MS);
    for (int i = 0; i < 2; i++) {
        size_t len;
        own_mem char *text = tree_get(i ? dumb : out, &len);

        assert_null(strchr(text, '\033'));
        has_once(text, "\nok    Walk the tree: 2 files in 2 directories, 15 ");
        has_once(text, "\nok    Review by Claude: by the claude command");
    }
    expect_as_before();
}

static void ctrl_c_in_the_midst_gives_the_terminal_back(void **state)
{
    own_mem char *text = NULL;

    (void)state;
    begin(80, 24);
    midst("go; echo le''ft $?");
    tmux_expect_value(&t, "#{cursor_flag}", "0", SOON_MS);
    tmux_type(&t, "unseen"); /* not into the picture */
    tmux_key(&t, "C-c");
    tmux_expect(&t, "left 130", SOON_MS);
    expect_as_before();
    text = all(false);
    has_once(text, "  ■ Ask the claude command");
    has_once(text, "stopped by SIGINT: there is no report\n");
    has_once(text, "Review by Claude");
}

static void ctrl_z_and_fg_go_on_below(void **state)
{
    own_mem char *now = NULL;

    (void)state;
    begin(80, 40);
    midst("go; echo le''ft $?");
    tmux_key(&t, "C-z");
    tmux_expect(&t, "Stopped", SOON_MS);
    tmux_expect_value(&t, "#{cursor_flag}", "1", SOON_MS);
    now = tmux_screen(&t);
    /* below the frame, of which nothing is written over */
    has_once(now, "  · Ask the Messages API\n");
    assert_true(strstr(now, "Stopped") > strstr(now, "Ask the Messages API"));
    expect_as_before();
    shell("clear; tmux clear-history; fg");
    tmux_expect(&t, "Review by Claude", SOON_MS);
    tmux_expect_value(&t, "#{cursor_flag}", "0", SOON_MS);
    enough();
    tmux_expect(&t, "1 finding in 2 files", SOON_MS);
    expect_as_before();
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(at_80x24_the_list_stands_whole),
        CASE(at_40x10_no_line_is_lost_or_doubled),
        CASE(resizes_leave_nothing_behind),
        CASE(a_narrower_terminal_stays_so),
        CASE(no_color_is_without_colours),
        CASE(a_dumb_terminal_and_a_pipe_get_plain_lines),
        CASE(ctrl_c_in_the_midst_gives_the_terminal_back),
        CASE(ctrl_z_and_fg_go_on_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
