/* What is looked for in any text: secrets by their form, and the key in a
 * reply that comes in two parts, cut anywhere. */
#include "base/mem.h"
#include "base/own.h"
#include "base/hush.h"
#include "sample-cli/reply.h"
#include "sample-cli/secrets.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KEY "sk-sk-sk-a" /* is like itself, some bytes on */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever stands before it hides nothing. */
static void is_found(const char *text, size_t size)
{
    static const char token[] = "\nAKIA"
                                "IOSFODNN7EXAMPLE";
    own_mem char *more = mem_zero(size + sizeof(token), 1);

    if (size)
        memcpy(more, text, size);
    memcpy(more + size, token, sizeof(token));
    if (!secrets_in_text(more, size + sizeof(token) - 1))
        abort();
    (void)secrets_in_path(more);
    (void)secrets_in_text(text, size);
}

static void come(struct reply *r, const char *text, size_t size, size_t cut)
{
    struct err e = {0};

    reply_init(r, true);
    reply_start(r, NULL, KEY);
    if (reply_add(r, text, cut, &e) < 0 ||
        reply_add(r, text + cut, size - cut, &e) < 0)
        abort();
    reply_end(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    struct reply whole, parts;

    if (size < 2 || size > 4096)
        return 0;
    size--;
    is_found(text, size);
    come(&whole, text, size, size);
    come(&parts, text, size, data[0] % (size + 1));
    if (whole.text.len != size || parts.text.len != size ||
        memcmp(whole.text.data, parts.text.data, size) != 0 ||
        memmem(whole.text.data, size, KEY, strlen(KEY)))
        abort();
    reply_fini(&whole);
    reply_fini(&parts);
    return 0;
}
