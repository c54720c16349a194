/*
 * Strict JSON (RFC 8259, one doorway on cJSON).
 *
 * Refused beyond the grammar: bytes behind the value, a byte order mark,
 * duplicate names, \u0000, invalid UTF-8 and lone surrogates, nesting deeper
 * than JSON_DEPTH_MAX, more than JSON_NODES_MAX values, a number of more than
 * 63 characters or out of a double's range. Numbers are doubles; json_int
 * takes only whole ones within +-(2^53 - 1).
 */
#ifndef PODTERM_BASE_JSON_H
#define PODTERM_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 32
#define JSON_NODES_MAX 20000

struct json; /* a value; a tree is owned by its root; wiped when freed */

/* Parse len bytes. Returns the root, owned by the caller (json_free), or
 * NULL with ERR_INPUT saying what and at which byte (or which name is there
 * twice). */
struct json *json_parse(const void *text, size_t len, struct err *e);
/* The same of at most so many values: with more ERR_TOO_LARGE. */
struct json *json_parse_upto(const void *text, size_t len, size_t nodes_max,
                             struct err *e);
void json_free(struct json *root);
static inline void own_json_release(struct json **j)
{
    json_free(*j);
}
#define own_json __attribute__((cleanup(own_json_release)))

/* Building. Roots are the caller's; json_set_* copy. `at` is NULL for an
 * array (append) and a name for an object (a member of that name is
 * replaced). A value is never NULL, a number finite, an integer within
 * +-(2^53 - 1), and a NUL byte ends a string. */
struct json *json_object(void);
struct json *json_array(void);
void json_set_str(struct json *to, const char *at, const char *value);
void json_set_strn(struct json *to, const char *at, const char *v, size_t len);
void json_set_int(struct json *to, const char *at, int64_t value);
void json_set_num(struct json *to, const char *at, double value);
void json_set_bool(struct json *to, const char *at, bool value);
void json_set_null(struct json *to, const char *at);
/* Moves child into to; child is no longer the caller's. Returns child. */
struct json *json_set(struct json *to, const char *at, struct json *child);
/* Take a member out, if there is one. */
void json_drop(struct json *object, const char *name);
struct json *json_dup(const struct json *j);
/* Compact text that json_parse reads back to the same values, owned by the
 * caller (free). */
char *json_text(const struct json *j);
/* The same behind what is in b: 0, or -1 when b is full (it then holds a
 * part). For secrets: a buffer with room for all (buf_reserve) does not move
 * as it grows. */
int json_append(struct buf *b, const struct json *j);

/* Reading. All take NULL and answer NULL, -1 or false for it. */
bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_number(const struct json *j);
bool json_is_bool(const struct json *j);
bool json_is_null(const struct json *j);
/* Member by exact name, or NULL. */
const struct json *json_get(const struct json *object, const char *name);
size_t json_count(const struct json *array_or_object);
const struct json *json_at(const struct json *array_or_object, size_t index);
/* Name of a member reached by json_at; NULL in an array. */
const char *json_name(const struct json *member);
/* Value of a string, borrowed; NULL when it is none. */
const char *json_str(const struct json *j);
/* Is the member of that name this text? */
bool json_get_is(const struct json *object, const char *name, const char *text);
/* The first object of an array whose member of that name is this text. */
const struct json *json_find(const struct json *array, const char *name,
                             const char *text);
/* 0 and *out, or -1 when it is not a whole number within +-(2^53 - 1). */
int json_int(const struct json *j, int64_t *out);
/* The same by name, false/-1 when absent or of another type. */
const char *json_get_str(const struct json *object, const char *name);
int json_get_int(const struct json *object, const char *name, int64_t *out);
int json_get_bool(const struct json *object, const char *name, bool *out);

/*
 * Fail with ERR_INPUT naming the first member of object that is not in the
 * NULL-terminated list of names: unknown members are refused, so that a
 * misspelt field is not silently ignored.
 */
int json_only(const struct json *object, const char *const *names,
              struct err *e);

/* Append text to b as a JSON string with its quotes. NUL and bytes that are
 * not valid UTF-8 become U+FFFD, control characters (C0, DEL, C1) \u00xx.
 * 0, or -1 when b is full (unchanged). */
int json_quote(struct buf *b, const char *text, size_t len);

#endif
