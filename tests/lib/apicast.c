#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/apicast.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>

struct api api;
char *alice, *bob, *eve;

int cast_setup(void **state)
{
    static const char *const extra[] = {"--quota", "200", NULL};

    (void)state;
    seal_init();
    api_start(&api, extra);
    alice = api_identity(&api, "alice");
    bob = api_identity(&api, "bob");
    eve = api_identity(&api, "eve");
    return 0;
}

int cast_teardown(void **state)
{
    (void)state;
    free(alice);
    free(bob);
    free(eve);
    api_finish(&api);
    return 0;
}

struct rest_answer cast_post(const char *who, const char *more_headers,
                             const char *body)
{
    char *headers = mem_printf("%s%s", who, more_headers);
    struct rest_answer r =
        api_call(&api, "POST", SESSIONS, NULL, NULL, headers, body);

    free(headers);
    return r;
}

struct json *cast_json(struct rest_answer *r)
{
    struct err e = {0};
    struct json *j = json_parse(r->body, r->len, &e);

    assert_non_null(j);
    rest_fini(r);
    return j;
}

void cast_feed(const char *check, void (*write)(FILE *to))
{
    own_mem char *line = mem_printf("python3 tests/controller/openapi.py "
                                    "controller/openapi.yaml %s",
                                    check);
    FILE *to = popen(line, "w");

    assert_non_null(to);
    write(to);
    if (pclose(to) != 0)
        fail_msg("controller/openapi.yaml does not hold: see above");
}

static void write_seen(FILE *to)
{
    FILE *from = fopen(api.seen_path, "r");
    char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, from) > 0)
        fputs(line, to);
    free(line);
    fclose(from);
}

void cast_check_answers(const char *check)
{
    cast_feed(check, write_seen);
}
