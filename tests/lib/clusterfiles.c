#include "tests/lib/clusterfiles.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void change(char **text, const char *const (*changes)[2])
{
    for (; (*changes)[0]; changes++) {
        const char *at = strstr(*text, (*changes)[0]);
        char *changed;

        if (!at)
            fail_msg("%s holds no %s", CLUSTERBED_TEMPLATE, (*changes)[0]);
        changed = mem_printf("%.*s%s%s", (int)(at - *text), *text,
                             (*changes)[1], at + strlen((*changes)[0]));
        free(*text);
        *text = changed;
    }
}

char *clusterfiles_template(struct clusterbed *b, const char *name,
                            const char *const (*changes)[2])
{
    static const char *const small[][2] = {
        {"cpu: 50m", "cpu: 5m"}, {"cpu: 250m", "cpu: 5m"}, {NULL, NULL}};
    char *path = mem_printf("%s/%s.yaml", b->stack.dir, name);
    own_mem char *text = NULL;
    struct err e = {0};
    struct buf file;
    FILE *f;

    buf_init(&file, YAML_BYTES_MAX);
    if (file_read(CLUSTERBED_TEMPLATE, &file, &e) < 0)
        fail_msg("%s", e.text);
    text = mem_str(buf_cstr(&file));
    change(&text, small);
    if (changes)
        change(&text, changes);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    buf_fini(&file);
    return path;
}

void clusterfiles_compile(struct clusterbed *b, const char *name,
                          const char *text, struct stack_bundle *out)
{
    own_mem char *source = mem_printf("%s/%s.c", b->stack.dir, name);
    own_mem char *program = mem_printf("%s/%s", b->stack.dir, name);
    own_mem char *cc =
        mem_printf("musl-gcc -static -O1 -o %s %s", program, source);
    FILE *f = fopen(source, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(system(cc), 0);
    clusterbed_pack_file(b, name, program, out);
}
