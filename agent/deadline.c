#include "agent/deadline.h"

#include <stdio.h>

enum deadline_verdict deadline_judge(struct deadline *d,
                                     const struct agent_spec *spec,
                                     const struct state_head *h, int64_t now_ms)
{
    int64_t life_left = h->started_mono_ms + spec->lifetime_s * 1000 - now_ms;
    int64_t idle_ms = spec->idle_s * 1000;
    int64_t idle_left = h->active_mono_ms + idle_ms - now_ms;
    int64_t warn_ms =
        idle_ms > DEADLINE_WARN_MS ? DEADLINE_WARN_MS : idle_ms / 2;

    if (spec->idle_s == 0) /* off */
        idle_left = INT64_MAX;
    if (life_left <= 0)
        return DEADLINE_END_LIFETIME;
    if (idle_left <= 0)
        return DEADLINE_END_IDLE;
    if (life_left <= DEADLINE_WARN_MS && !d->warned_lifetime) {
        d->warned_lifetime = true;
        d->left_ms = life_left;
        return DEADLINE_WARN_LIFETIME;
    }
    if (idle_left > warn_ms) {
        d->warned_idle = false;
    } else if (!d->warned_idle) {
        d->warned_idle = true;
        d->left_ms = idle_left;
        return DEADLINE_WARN_IDLE;
    }
    return DEADLINE_NONE;
}

void deadline_say(const struct deadline *d, enum deadline_verdict v,
                  char out[DEADLINE_TEXT_MAX])
{
    const long long left_s = (d->left_ms + 999) / 1000;
    char rest[32];

    if (left_s >= DEADLINE_WARN_MS / 1000)
        snprintf(rest, sizeof(rest), "a minute");
    else
        snprintf(rest, sizeof(rest), "%lld second%s", left_s,
                 left_s == 1 ? "" : "s");
    snprintf(out, DEADLINE_TEXT_MAX,
             v == DEADLINE_WARN_LIFETIME
                 ? "The session's lifetime is over in %s."
                 : "The session is idle and ends in %s. Press a key to keep "
                   "it.",
             rest);
}
