/*
 * What is taken must print to a text that is taken and prints the same, and
 * any bytes must quote to a string that is taken.
 */
#include "base/json.h"
#include "base/own.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const uint8_t *data, size_t size)
{
    struct err e = {0};
    own_json struct json *first = json_parse(data, size, &e);
    own_json struct json *second = NULL, *copy = NULL;
    own_mem char *a = NULL, *b = NULL, *c = NULL;

    if (!first) {
        if (e.kind != ERR_INPUT || !*e.text)
            abort();
        return;
    }
    a = json_text(first);
    second = json_parse(a, strlen(a), &e);
    copy = json_dup(first);
    if (!second)
        abort();
    b = json_text(second);
    c = json_text(copy);
    if (strcmp(a, b) != 0 || strcmp(a, c) != 0)
        abort();
}

static void check_quote(const uint8_t *data, size_t size)
{
    own_json struct json *j = NULL;
    struct err e = {0};
    struct buf b;

    buf_init(&b, 6 * size + 2);
    if (json_quote(&b, (const char *)data, size) < 0)
        abort();
    j = json_parse(b.data, b.len, &e);
    if (!json_is_string(j))
        abort();
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_round_trip(data, size);
    check_quote(data, size);
    return 0;
}
