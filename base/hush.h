/*
 * The key is never shown, whoever says it: a peer that was given it may send
 * it back, in parts, or in a text that we have cut. Pure.
 */
#ifndef PODTERM_BASE_HUSH_H
#define PODTERM_BASE_HUSH_H

#include "base/err.h"

#include <stddef.h>

/* No shorter key is known, and no shorter part of one is looked for at the end
 * of a text that may be cut: it would be any text's. */
#define HUSH_MIN 8

/* The key's bytes, wherever all of it stands, become '*'. key: NULL = none. */
void hush_bytes(char *text, size_t len, const char *key);
/* How many bytes at the end of text may be the beginning of a key. */
size_t hush_tail(const char *text, size_t len, const char *key);
/* The same as hush_bytes, and HUSH_MIN bytes of the key or more at the end of
 * a text that may have been cut there. */
void hush_cut(char *text, size_t len, const char *key);
void hush_err(struct err *e, const char *key);

#endif
