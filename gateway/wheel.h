/*
 * Timers for many connections: a hashed wheel. Setting, moving and clearing
 * cost the same however many there are, and nothing sweeps over all of them.
 * A timer fires at its time or up to WHEEL_TICK_MS later. One thread.
 */
#ifndef PODTERM_GATEWAY_WHEEL_H
#define PODTERM_GATEWAY_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_MS 4 /* pings of many come in small helpings */
#define WHEEL_SLOTS 2048

struct wheel_timer { /* embedded; zeroed = not set */
    struct wheel_timer *next, *prev;
    int64_t due_ms; /* 0 = not set */
    uint16_t slot;
};

struct wheel {
    struct wheel_timer *slots[WHEEL_SLOTS];
    uint64_t used[WHEEL_SLOTS / 64]; /* slots that hold something */
    int64_t tick;                    /* the last one turned */
};

void wheel_init(struct wheel *w, int64_t now_ms);
/* due_ms > 0; a time that has passed fires at the next turn. */
void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t due_ms);
void wheel_clear(struct wheel *w, struct wheel_timer *t);
/* Call fire for what is due, each cleared before; fire may set and clear any
 * timer. */
void wheel_turn(struct wheel *w, int64_t now_ms,
                void (*fire)(void *arg, struct wheel_timer *t), void *arg);
/* Milliseconds until the wheel wants to be turned, -1 = nothing is set. */
int wheel_wait_ms(const struct wheel *w, int64_t now_ms);

#endif
