#include "gateway/wheel.h"

#include <stddef.h>

void wheel_init(struct wheel *w, int64_t now_ms)
{
    *w = (struct wheel){.tick = now_ms / WHEEL_TICK_MS};
}

static void slot_put(struct wheel *w, struct wheel_timer *t, int64_t tick)
{
    uint16_t slot = (uint16_t)(tick % WHEEL_SLOTS);

    t->slot = slot;
    t->prev = NULL;
    t->next = w->slots[slot];
    if (t->next)
        t->next->prev = t;
    w->slots[slot] = t;
    w->used[slot / 64] |= (uint64_t)1 << (slot % 64);
}

void wheel_clear(struct wheel *w, struct wheel_timer *t)
{
    if (!t->due_ms)
        return;
    if (t->prev)
        t->prev->next = t->next;
    else
        w->slots[t->slot] = t->next;
    if (t->next)
        t->next->prev = t->prev;
    if (!w->slots[t->slot])
        w->used[t->slot / 64] &= ~((uint64_t)1 << (t->slot % 64));
    *t = (struct wheel_timer){0};
}

void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t due_ms)
{
    int64_t tick = (due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;

    wheel_clear(w, t);
    t->due_ms = due_ms;
    slot_put(w, t, tick > w->tick ? tick : w->tick + 1);
}

/*
 * One slot. A fired timer may change the list in any way, so the walk starts
 * over after each; what it sets anew lands in a later slot, never in this.
 */
static void slot_turn(struct wheel *w, uint16_t slot, int64_t now_ms,
                      void (*fire)(void *arg, struct wheel_timer *t), void *arg)
{
    struct wheel_timer *t = w->slots[slot];

    while (t) {
        if (t->due_ms > now_ms) { /* a later round of the wheel */
            t = t->next;
            continue;
        }
        wheel_clear(w, t);
        fire(arg, t);
        t = w->slots[slot];
    }
}

void wheel_turn(struct wheel *w, int64_t now_ms,
                void (*fire)(void *arg, struct wheel_timer *t), void *arg)
{
    int64_t to = now_ms / WHEEL_TICK_MS;
    int64_t from = w->tick + 1;

    if (to - from >= WHEEL_SLOTS)
        from = to - WHEEL_SLOTS + 1; /* once round meets every slot */
    w->tick = to > w->tick ? to : w->tick;
    for (int64_t tick = from; tick <= to; tick++)
        slot_turn(w, (uint16_t)(tick % WHEEL_SLOTS), now_ms, fire, arg);
}

int wheel_wait_ms(const struct wheel *w, int64_t now_ms)
{
    for (int64_t i = 1; i <= WHEEL_SLOTS; i++) {
        int64_t tick = w->tick + i;
        int64_t wait = tick * WHEEL_TICK_MS - now_ms;
        size_t slot = (size_t)(tick % WHEEL_SLOTS);

        if (!w->used[slot / 64]) { /* nothing up to the next word */
            i += 63 - (int64_t)(slot % 64);
            continue;
        }
        if (w->used[slot / 64] >> (slot % 64) & 1)
            return wait > 0 ? (int)wait : 0;
    }
    return -1;
}
