/*
 * When a running session ends by itself: lifetime and idleness, judged from
 * the state and the time passed in. Pure.
 */
#ifndef PODTERM_AGENT_DEADLINE_H
#define PODTERM_AGENT_DEADLINE_H

#include "agent/spec.h"
#include "agent/state.h"

#include <stdbool.h>
#include <stdint.h>

/* owners are told that long before an end; at half of an idle time that is
 * shorter */
#define DEADLINE_WARN_MS 60000

enum deadline_verdict {
    DEADLINE_NONE,
    DEADLINE_WARN_LIFETIME, /* told once */
    DEADLINE_WARN_IDLE,     /* told once for each idle stretch */
    DEADLINE_END_LIFETIME,
    DEADLINE_END_IDLE,
};

struct deadline { /* zero at the start */
    bool warned_lifetime, warned_idle;
    int64_t left_ms; /* of a warning: the rest */
};

/* h: of a session in PHASE_RUNNING. An end wins over a warning. */
enum deadline_verdict deadline_judge(struct deadline *d,
                                     const struct agent_spec *spec,
                                     const struct state_head *h,
                                     int64_t now_ms);

#define DEADLINE_TEXT_MAX 128
/* A warning's sentence for the owner, with the rest that is really left. */
void deadline_say(const struct deadline *d, enum deadline_verdict v,
                  char out[DEADLINE_TEXT_MAX]);

#endif
