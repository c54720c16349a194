#include "agent/deadline.h"

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
        return DEADLINE_WARN_LIFETIME;
    }
    if (idle_left > warn_ms) {
        d->warned_idle = false;
    } else if (!d->warned_idle) {
        d->warned_idle = true;
        return DEADLINE_WARN_IDLE;
    }
    return DEADLINE_NONE;
}
