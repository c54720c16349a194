#include "tests/lib/onebox.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct agentbox *box;

int box_teardown(void **state)
{
    (void)state;
    agentbox_free(box);
    box = NULL;
    return 0;
}

struct agentlink *box_owner(const char *script, const char *over)
{
    box = agentbox_new(script, over);
    return agentlink_new(box, ROLE_OWNER, -1);
}

struct agentlink *box_again(uint64_t from)
{
    int64_t until = loop_now_ms() + MS;

    while (loop_now_ms() < until) {
        struct agentlink *l = agentlink_try(box, box->key, box->psk_id);

        if (l) {
            own_mem char *token = agentbox_token(box, ROLE_OWNER, NULL, NULL);

            agentlink_hello(l, token, (int64_t)from, 0, 0);
            agentlink_until(l, FRAME_READY, MS);
            return l;
        }
        poll(NULL, 0, 10);
    }
    fail_msg("the agent did not come back");
    return NULL;
}

struct json *box_ends(struct agentlink *l, const char *reason)
{
    agentlink_run(l, 2 * MS);
    return agentbox_ends(box, reason, LEAVES_MS);
}

int64_t report_number(const struct json *report, const char *name)
{
    int64_t v = -1;

    if (json_get_int(report, name, &v) < 0)
        fail_msg("the report has no number %s", name);
    return v;
}

void numbers_take(void *arg, uint64_t offset, const uint8_t *p, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len;) {
        uint64_t at = offset + i;
        size_t skip = at % 8, part = 8 - skip < len - i ? 8 - skip : len - i;
        char text[24];

        snprintf(text, sizeof(text), "%07llu\n",
                 (unsigned long long)(at / 8 + 1));
        if (memcmp(p + i, text + skip, part) != 0)
            fail_msg("at %llu: %.8s", (unsigned long long)at, p + i);
        i += part;
    }
}

void agentlink_to(struct agentlink *l, uint64_t offset, int ms)
{
    int64_t until = loop_now_ms() + ms, left;

    while (l->output < offset && !l->is_over &&
           (left = until - loop_now_ms()) > 0)
        agentlink_next(l, (int)left);
    if (l->output < offset)
        fail_msg("at %llu, want %llu (%s)", (unsigned long long)l->output,
                 (unsigned long long)offset, l->is_over ? "over" : "slow");
}
