/*
 * The table of commands, and what is made of it: help, manual pages, what is
 * completed. All three tell the same.
 */
#include "client/command.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *podterm, *dir;

static int setup(void **state)
{
    (void)state;
    podterm = program_path("podterm");
    dir = scratch_new();
    setenv("PODTERM_SERVER", "http://127.0.0.1:1", 1); /* nobody answers */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    free(podterm);
    return 0;
}

/* Words between single blanks, whatever stood between them; no formatting. */
static char *flat(const char *text)
{
    char *out = mem_zero(strlen(text) + 1, 1), *at = out;

    for (const char *c = text; *c; c++) {
        if (c[1] == '\b') { /* mandoc's bold */
            c++;
            continue;
        }
        if (*c == ' ' || *c == '\n' || *c == '\t') {
            if (at > out && at[-1] != ' ')
                *at++ = ' ';
        } else {
            *at++ = *c;
        }
    }
    return out;
}

/* What that line of a shell says, flat. */
static char *said(const char *line, int code)
{
    const char *argv[] = {"bash", "-c", line, NULL};
    struct child c = {.argv = argv};
    char *out;

    child_expect(&c, code);
    out = flat(c.out);
    child_fini(&c);
    return out;
}

static void expect_in(const char *where, const char *text, const char *name)
{
    own_mem char *want = flat(text);

    if (!strstr(where, want))
        fail_msg("%s: \"%s\" is not in: %s", name, want, where);
}

static void table_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);

        assert_ptr_equal(command_find(c->name), c);
        assert_non_null(c->run);
        assert_true(strlen(c->summary) > 5 && strlen(c->summary) < 60);
        assert_non_null(c->usages[0]);
        for (size_t k = 0; k < c->row_count; k++) {
            assert_true(strlen(c->rows[k].help) > 5);
            for (size_t j = 0; j < k; j++)
                assert_string_not_equal(c->rows[j].name, c->rows[k].name);
        }
    }
    assert_null(command_find("__complete"));
}

static void check_told(const struct command *c, const char *where)
{
    expect_in(where, c->summary, c->name);
    for (size_t i = 0; c->usages[i]; i++)
        expect_in(where, c->usages[i], c->name);
    for (size_t i = 0; c->about[i]; i++)
        expect_in(where, c->about[i], c->name);
    for (size_t i = 0; i < c->row_count; i++) {
        own_mem char *flag = mem_printf("--%s", c->rows[i].name);
        char env[CONF_ENV_MAX];

        conf_env_name(c->rows[i].name, env);
        expect_in(where, flag, c->name);
        expect_in(where, c->rows[i].help, c->name);
        expect_in(where, env, c->name);
    }
    for (const struct command_list *l = c->lists; l && l->name; l++) {
        own_mem char *flag = mem_printf("--%s %s", l->name, l->unit);

        expect_in(where, flag, c->name);
        expect_in(where, l->help, c->name);
    }
    for (const struct command_exit *x = c->exits ? c->exits : command_exits;
         x->code; x++) {
        expect_in(where, x->code, c->name);
        expect_in(where, x->means, c->name);
    }
}

static void help_tells_all_of_it(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        own_mem char *line = mem_printf("%s %s --help", podterm, c->name);
        own_mem char *same = mem_printf("%s help %s", podterm, c->name);
        own_mem char *help = said(line, 0), *again = said(same, 0);

        check_told(c, help);
        assert_string_equal(help, again);
    }
}

/* No line of help is cut by a terminal of 80 columns. */
static void help_fits_80_columns(void **state)
{
    own_mem char *line =
        mem_printf("for c in '' $(%s --help | sed -n 's/^  \\([a-z]*\\)  .*/"
                   "\\1/p'); do %s $c --help; done | awk 'length > 80'",
                   podterm, podterm);
    own_mem char *wide = said(line, 0);

    (void)state;
    assert_string_equal(wide, "");
}

static void pages_tell_all_of_it_and_have_no_fault(void **state)
{
    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        own_mem char *make = mem_printf(
            "set -e; %s __manual %s >%s/p.1; mandoc -T lint -W warning "
            "%s/p.1; groff -man -ww -Tutf8 %s/p.1 2>&1 >/dev/null",
            podterm, c->name, dir, dir, dir);
        own_mem char *show =
            mem_printf("mandoc -T utf8 %s/p.1 | sed 's/\xe2\x80\x90/-/g'", dir);
        own_mem char *faults = said(make, 0), *page = said(show, 0);

        assert_string_equal(faults, "");
        check_told(c, page);
    }
}

static void the_page_of_all_names_each(void **state)
{
    own_mem char *make =
        mem_printf("%s __manual >%s/p.1 && mandoc -T lint -W warning %s/p.1 && "
                   "groff -man -ww -Tutf8 %s/p.1 2>&1 >/dev/null",
                   podterm, dir, dir, dir);
    own_mem char *show = mem_printf("mandoc -T ascii %s/p.1", dir);
    own_mem char *faults = said(make, 0), *page = said(show, 0);

    (void)state;
    assert_string_equal(faults, "");
    for (size_t i = 0; command_at(i); i++) {
        own_mem char *line = mem_printf("podterm-%s(1) %s", command_at(i)->name,
                                        command_at(i)->summary);

        expect_in(page, line, "podterm");
    }
}

/* --- completion, without a server --- */

/* What is offered for these words, flat. */
static char *offered(const char *words)
{
    own_mem char *line = mem_printf("%s __complete %s", podterm, words);

    return said(line, 0);
}

static void expect_offer(const char *words, const char *want)
{
    own_mem char *got = offered(words);

    if (strcmp(got, want) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", words, got, want);
}

static void every_command_and_option_is_offered(void **state)
{
    own_mem char *all = offered("''");

    (void)state;
    for (size_t i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        own_mem char *line = mem_printf("%s --", c->name);
        own_mem char *options = offered(line);
        own_mem char *told = mem_printf("%s %s", c->name, c->summary);

        expect_in(all, told, "all");
        for (size_t k = 0; k < c->row_count; k++) {
            own_mem char *flag = mem_printf("--%s ", c->rows[k].name);

            expect_in(options, flag, c->name);
        }
        for (const struct command_list *l = c->lists; l && l->name; l++) {
            own_mem char *flag = mem_printf("--%s ", l->name);

            expect_in(options, flag, c->name);
        }
    }
}

static void what_may_follow_is_known_from_what_stands_before(void **state)
{
    (void)state;
    setenv("A_NAME_OF_OURS", "x", 1);
    expect_offer("at", "attach attach this terminal to a session ");
    expect_offer("nothing ''", "");
    expect_offer("nothing", "");
    expect_offer("completion z", "zsh ");
    expect_offer("help sh", "share let others watch a session ");
    expect_offer("run ./x", ":files ");
    expect_offer("run --bundle ''", ":files ");
    expect_offer("run --signature=x", ":files ");
    expect_offer("run --server x", "");
    expect_offer("run --sha", "--sha256 its SHA-256; needed with a URL ");
    expect_offer("run --sha256 0 --sha", ""); /* once */
    expect_offer("run -- --sha", ":files ");  /* the program's */
    expect_offer("run --env A_NAME_OF", "A_NAME_OF_OURS yours ");
    expect_offer("run --env=A_NAME_OF", "A_NAME_OF_OURS yours ");
    expect_offer("run --env A=1 --en",
                 "--env a variable of the program's environment; without "
                 "=VALUE it is yours. The program can read it: give it no "
                 "secret you would not give the program ");
    expect_offer("dev --isolation ''", "strict best open ");
    expect_offer("dev --egress ''", "none proxy open ");
    expect_offer("dev --state x", ":files ");
    expect_offer("version ''", "");
    expect_offer("share abcd us", ""); /* whom, nobody knows */
}

/* Neither a word nor a wait, where no server answers or no identity is. */
static void sessions_are_silent_without_a_server(void **state)
{
    own_mem char *line = mem_printf(
        "%s __complete attach '' 2>&1; PODTERM_IDENTITY_COMMAND='echo no >&2; "
        "exit 1' %s __complete end '' 2>&1; "
        "PODTERM_IDENTITY_COMMAND='sleep 30' timeout 10 %s __complete end '' "
        "2>&1; %s __complete attach --server bad:/ '' 2>&1; "
        "PODTERM_SERVER='#' %s __complete attach '' 2>&1; %s __complete 2>&1",
        podterm, podterm, podterm, podterm, podterm, podterm);

    (void)state;
    {
        own_mem char *got = said(line, 0);

        assert_string_equal(got, "");
    }
}

static void a_command_that_is_none_is_told(void **state)
{
    const char *argv[] = {podterm, "bo\033]0;x\007gus", NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_run(&c);
    assert_int_equal(c.code, 125);
    assert_string_equal(c.err, "podterm: there is no command "
                               "\"bo\\x1b]0;x\\x07gus\"; `podterm --help` "
                               "lists them\n");
    child_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_whole),
        cmocka_unit_test(help_tells_all_of_it),
        cmocka_unit_test(help_fits_80_columns),
        cmocka_unit_test(pages_tell_all_of_it_and_have_no_fault),
        cmocka_unit_test(the_page_of_all_names_each),
        cmocka_unit_test(every_command_and_option_is_offered),
        cmocka_unit_test(what_may_follow_is_known_from_what_stands_before),
        cmocka_unit_test(sessions_are_silent_without_a_server),
        cmocka_unit_test(a_command_that_is_none_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
