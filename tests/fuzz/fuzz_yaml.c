/* What is taken must be JSON that is taken, and prints the same; what is
 * not says why. */
#include "base/yaml.h"

#include "base/own.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    own_json struct json *first = yaml_parse(data, size, &e), *second = NULL;
    own_mem char *a = NULL, *b = NULL;

    if (!first) {
        if (e.kind != ERR_INPUT || !*e.text)
            abort();
        return 0;
    }
    a = json_text(first);
    second = json_parse(a, strlen(a), &e);
    if (!second)
        abort();
    b = json_text(second);
    if (strcmp(a, b) != 0)
        abort();
    return 0;
}
