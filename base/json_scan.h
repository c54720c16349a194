/*
 * The grammar of RFC 8259 and our limits on it, without building anything:
 * what cJSON lets pass (control characters, 01, +1, bytes behind the value,
 * lone surrogates) is refused here, before it is asked. Pure.
 */
#ifndef PODTERM_BASE_JSON_SCAN_H
#define PODTERM_BASE_JSON_SCAN_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define JSON_NUMBER_MAX 63 /* characters; cJSON would cut a longer one */

/* 0 when len bytes are one JSON value within the limits of base/json.h
 * (duplicate names aside), else -1 with ERR_INPUT and the byte. */
int json_scan(const void *text, size_t len, size_t nodes_max, struct err *e);

/* Bytes of the UTF-8 sequence at p (1..4), or 0 when it is invalid: cut,
 * overlong, a surrogate, above U+10FFFF. left >= 1. Source: RFC 3629. */
size_t utf8_step(const uint8_t *p, size_t left);

#endif
