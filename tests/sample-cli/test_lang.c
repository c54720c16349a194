#include "sample-cli/lang.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void is(const char *path, const char *text, enum lang want)
{
    assert_string_equal(lang_name(lang_of(path, text, strlen(text))),
                        lang_name(want));
}

static void a_name_tells_the_language(void **state)
{
    (void)state;
    is("a/b.c", "", LANG_C);
    is("a/b.H", "", LANG_C_HEADER);
    is("x.y/Makefile", "", LANG_MAKE);
    is("a.tar.yml", "", LANG_YAML);
    is("web/app.mjs", "", LANG_JAVASCRIPT);
}

static void a_name_without_a_known_ending_is_text(void **state)
{
    (void)state;
    is("LICENSE", "Apache", LANG_TEXT);
    is("dir.c/file", "", LANG_TEXT);
    is(".c", "", LANG_TEXT); /* a hidden file, no ending */
    is("c", "", LANG_TEXT);
    is("a.", "", LANG_TEXT);
    is("a.ccc", "", LANG_TEXT);
}

static void the_first_line_names_an_interpreter(void **state)
{
    (void)state;
    is("run", "#!/bin/sh\n", LANG_SHELL);
    is("run", "#!/usr/bin/env bash\nx", LANG_SHELL);
    is("run", "#!/usr/bin/env -S python3 -x\n", LANG_PYTHON);
    is("run", "#! /usr/bin/node", LANG_JAVASCRIPT);
    is("run", "#!/bin/sh\r\n", LANG_SHELL);
    is("run", "#!/usr/bin/perl\npython3\n", LANG_TEXT);
    is("run", "#!/usr/bin/perl\r sh\n", LANG_TEXT);
    is("run", "#!", LANG_TEXT);
    is("run", "#!   \n", LANG_TEXT);
    is("run", "#", LANG_TEXT);
    is("run.py", "#!/bin/sh\n", LANG_PYTHON); /* the name comes first */
}

static void a_zero_byte_near_the_start_means_binary(void **state)
{
    char text[LANG_LOOK_MAX + 2];

    (void)state;
    memset(text, 'a', sizeof(text));
    text[LANG_LOOK_MAX - 1] = 0;
    assert_int_equal(lang_of("a.c", text, sizeof(text)), LANG_BINARY);
    text[LANG_LOOK_MAX - 1] = 'a';
    text[LANG_LOOK_MAX] = 0;
    assert_int_equal(lang_of("a.c", text, sizeof(text)), LANG_C);
    assert_int_equal(lang_of("a.c", "\0", 1), LANG_BINARY);
    assert_int_equal(lang_of("a.c", NULL, 0), LANG_C);
    assert_int_equal(lang_of("a", NULL, 0), LANG_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_tells_the_language),
        cmocka_unit_test(a_name_without_a_known_ending_is_text),
        cmocka_unit_test(the_first_line_names_an_interpreter),
        cmocka_unit_test(a_zero_byte_near_the_start_means_binary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
