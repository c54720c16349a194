/* An event stream of the Messages API, cut in two anywhere. */
#include "sample-cli/message.h"
#include "sample-cli/sse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct message m;
    uint64_t sum;
    size_t count;
};

static int text(void *arg, const char *bytes, size_t len, struct err *e)
{
    (void)e;
    if (!len || memchr(bytes, 0, len))
        abort();
    *(size_t *)arg += len;
    return 0;
}

static int event(void *arg, const char *name, const char *data, size_t len,
                 struct err *e)
{
    struct seen *s = arg;
    struct err none = {0};

    (void)e;
    if (!*name || strlen(name) > SSE_NAME_MAX)
        abort();
    for (size_t i = 0; i < len; i++)
        s->sum = (s->sum ^ (uint8_t)data[i]) * 0x100000001b3;
    s->count++;
    message_parse(&s->m, data, len, &none);
    return 0;
}

static void feed(const uint8_t *data, size_t size, size_t cut, struct seen *out)
{
    struct err e = {0};
    struct sse s;
    size_t bytes = 0;

    *out = (struct seen){.m = {.text = text, .arg = &bytes}};
    sse_init(&s, event, out);
    if (sse_feed(&s, data, cut, &e) == 0)
        sse_feed(&s, data + cut, size - cut, &e);
    sse_fini(&s);
    out->m.arg = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, parts;

    /* where it is cut makes no difference */
    feed(data, size, size, &whole);
    feed(data, size, size ? data[0] % (size + 1) : 0, &parts);
    if (memcmp(&whole, &parts, sizeof(whole)) != 0)
        abort();
    return 0;
}
