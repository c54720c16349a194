#include "client/retry.h"

int64_t retry_next(struct retry *r, int64_t asked_ms, uint32_t random)
{
    int64_t step = RETRY_FIRST_MS, wait;

    for (int i = 0; i < r->step && step < RETRY_MAX_MS; i++)
        step *= 2;
    if (step > RETRY_MAX_MS)
        step = RETRY_MAX_MS;
    else
        r->step++;
    wait = step / 2 + (int64_t)(random % (uint32_t)(step / 2 + 1));
    if (asked_ms > RETRY_ASKED_MAX_MS)
        asked_ms = RETRY_ASKED_MAX_MS;
    /* all who were told the same time must not come back at once */
    return asked_ms > wait ? asked_ms + wait % RETRY_FIRST_MS : wait;
}

void retry_reset(struct retry *r)
{
    r->step = 0;
}
