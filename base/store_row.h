/*
 * A session's row as bytes, for a store on another machine: a version, then
 * fields of tag, length and value in any order. Who reads skips tags it does
 * not know, so that two versions of the programs can share a store while one
 * replaces the other. The rev is not among them: the store keeps it.
 */
#ifndef PODTERM_BASE_STORE_ROW_H
#define PODTERM_BASE_STORE_ROW_H

#include "base/buf.h"
#include "base/store.h"

#define STORE_ROW_BYTES_MAX 32768 /* of an encoded row */

/* Append row to out, which has room for STORE_ROW_BYTES_MAX. */
void store_row_put(struct buf *out, const struct store_session *row);

/* Read one; the bytes are a stranger's. ERR_SYSTEM when they are no whole
 * row of values that a row can have; *out is then as it was. */
int store_row_take(const void *bytes, size_t len, struct store_session *out,
                   struct err *e);

#endif
