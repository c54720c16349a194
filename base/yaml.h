/*
 * YAML (doorway on libyaml): one document, made into values of base/json.h.
 * For files an operator writes: manifests and kubeconfig. They mean what they
 * mean to kubectl, but what YAML 1.1 and 1.2 read differently is refused:
 * plain yes, no, on, off, y, n, digits in groups, 0o and 0b. So are anchors,
 * aliases, tags, merge keys, several documents, names that are twice in a
 * mapping or no strings, and what base/json.h has no value for.
 */
#ifndef PODTERM_BASE_YAML_H
#define PODTERM_BASE_YAML_H

#include "base/err.h"
#include "base/json.h"

#include <stddef.h>

#define YAML_BYTES_MAX (1024 * 1024)

/*
 * Parse a document whose root is a mapping.
 *
 * returns  the root, the caller's (json_free), or NULL with ERR_INPUT that
 *          says what and in which line
 * thread   any
 * source   YAML 1.2.2, chapter 10.3; depth and values as JSON_DEPTH_MAX and
 *          JSON_NODES_MAX say
 */
struct json *yaml_parse(const void *text, size_t len, struct err *e);

#endif
