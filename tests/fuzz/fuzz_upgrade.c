/*
 * Request heads and agents' answers. A head fed whole and bytewise must be
 * judged alike, and what is accepted must lie inside the head.
 */
#include "gateway/upgrade.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long bytewise(const char *text, size_t size)
{
    size_t seen = 0;
    long end = 0;

    for (size_t len = 1; len <= size && end == 0; len++)
        end = http_head_end(text, len, &seen);
    return end;
}

static void inside(struct http_text t, const char *head, size_t len)
{
    if (t.at && (t.at < head || t.at + t.len > head + len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const char *text = (const char *)data;
    struct upgrade u = {0};
    size_t seen = 0;
    char *head;
    long end;
    int status;

    if (size > UPGRADE_HEAD_MAX)
        return 0;
    end = http_head_end(text, size, &seen);
    if (end != bytewise(text, size))
        abort();
    if (end <= 0)
        return 0;
    /* exactly the head, so that reading past it is seen */
    head = malloc((size_t)end);
    if (!head)
        abort();
    memcpy(head, text, (size_t)end);
    status = upgrade_parse(head, (size_t)end, &u);
    if (status == 0) {
        if (!u.path.len || !u.host.len || u.path.at[0] != '/')
            abort();
        if (u.is_websocket && u.key.len != UPGRADE_KEY_LEN)
            abort();
        inside(u.path, head, (size_t)end);
        inside(u.host, head, (size_t)end);
        inside(u.origin, head, (size_t)end);
        inside(u.forwarded, head, (size_t)end);
        inside(u.key, head, (size_t)end);
    } else if (status < 400 || status > 505) {
        abort();
    }
    upgrade_answer(head, (size_t)end, accept, &status);
    free(head);
    return 0;
}
