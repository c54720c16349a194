/*
 * Where output goes: stdout. Bytes wait here until they are really written,
 * never blocking the loop; what was written is told, so that it can be
 * acknowledged. Through the filter when a terminal reads it.
 */
#ifndef PODTERM_CLIENT_SINK_H
#define PODTERM_CLIENT_SINK_H

#include "base/loop.h"
#include "client/modes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SINK_MAX (16 << 20) /* bytes; the credit keeps far below it */

struct sink;

struct sink_verbs {
    void (*written)(void *arg, size_t len); /* of the bytes given */
    void (*failed)(void *arg, int error);   /* errno; nothing comes after it */
};

/* fd is borrowed. */
struct sink *sink_new(struct loop *l, int fd, bool filter,
                      const struct sink_verbs *verbs, void *arg);
void sink_free(struct sink *s); /* takes NULL; drops what waits */
/* Queue a copy; verbs may be called within. -1: SINK_MAX would be passed. */
int sink_add(struct sink *s, const uint8_t *bytes, size_t len);
/* Of the bytes that are added next so many were shown before: what they ask a
 * terminal was answered then. */
void sink_was_seen(struct sink *s, uint64_t len);
/* While held, bytes wait as they do when nobody reads. */
void sink_hold(struct sink *s, bool hold);
/* What the bytes written so far have made of the terminal. */
const struct modes *sink_modes(const struct sink *s);
/* Is the last byte out, and no sequence cut in its middle? */
bool sink_is_at_rest(const struct sink *s);

#endif
