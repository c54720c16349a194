/*
 * Where input comes from: stdin, whatever it is, read only as far as it is
 * wanted and never blocking the loop.
 */
#ifndef PODTERM_CLIENT_SOURCE_H
#define PODTERM_CLIENT_SOURCE_H

#include "base/loop.h"

#include <stddef.h>
#include <stdint.h>

#define SOURCE_TURN_BYTES 32768

struct source;

struct source_verbs {
    void (*typed)(void *arg, const uint8_t *bytes, size_t len);
    void (*ended)(void *arg); /* end of file or an error, once */
};

/* fd is borrowed; off at first. */
struct source *source_new(struct loop *l, int fd,
                          const struct source_verbs *verbs, void *arg);
void source_free(struct source *s); /* takes NULL */
/* At most this many bytes are wanted now; 0 = none. Stays until told again:
 * each `typed` takes its bytes off it. */
void source_want(struct source *s, size_t room);

#endif
