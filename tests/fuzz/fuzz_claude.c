/* What the claude command writes, cut in two anywhere. */
#include "sample-cli/claude_read.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int text(void *arg, const char *bytes, size_t len, struct err *e)
{
    (void)e;
    if (!len || memchr(bytes, 0, len))
        abort();
    *(size_t *)arg += len;
    return 0;
}

static int read_all(const uint8_t *data, size_t size, size_t cut, size_t *bytes)
{
    struct claude_read c;
    struct err e = {0};
    int r;

    *bytes = 0;
    claude_read_init(&c, text, bytes);
    r = claude_read_feed(&c, data, cut, &e);
    if (r == 0)
        r = claude_read_feed(&c, data + cut, size - cut, &e);
    if (r == 0)
        r = claude_read_end(&c, &e);
    if ((r == 0 && !c.has_result) || (r < 0 && e.kind == ERR_NONE))
        abort();
    claude_read_fini(&c);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole, parts, cut = size ? data[0] % (size + 1) : 0;

    if (read_all(data, size, size, &whole) !=
            read_all(data, size, cut, &parts) ||
        whole != parts)
        abort();
    return 0;
}
