#include "agent/broker_budget.h"

#include "base/mem.h"

#include <stdlib.h>

void broker_budget_init(struct broker_budget *b, int64_t requests_max,
                        int64_t bytes_max, int64_t per_minute)
{
    *b = (struct broker_budget){.requests_max = requests_max,
                                .bytes_max = bytes_max,
                                .per_minute = per_minute};
    b->times = mem_zero((size_t)per_minute, sizeof(*b->times));
}

void broker_budget_fini(struct broker_budget *b)
{
    free(b->times);
    b->times = NULL;
}

enum broker_spending broker_budget_take(struct broker_budget *b, int64_t now_ms,
                                        int64_t *after_ms)
{
    int64_t *oldest = &b->times[b->next];

    if (b->requests >= b->requests_max)
        return BROKER_NO_REQUESTS;
    if (b->bytes >= b->bytes_max)
        return BROKER_NO_BYTES;
    if (*oldest && now_ms - *oldest < BROKER_MINUTE_MS) {
        *after_ms = BROKER_MINUTE_MS - (now_ms - *oldest);
        return BROKER_NOT_THIS_MINUTE;
    }
    *oldest = now_ms;
    b->next = (b->next + 1) % b->per_minute;
    b->requests++;
    return BROKER_SPENT;
}

bool broker_budget_bytes(struct broker_budget *b, int64_t bytes)
{
    b->bytes += bytes;
    return b->bytes <= b->bytes_max;
}
