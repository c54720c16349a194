/*
 * The layers of a program's cage that the kernel holds, each by itself: bits
 * of a set, with the words they have in the API, in READY and in status.json.
 * Source: PROTOCOL.md 4.
 */
#ifndef PODTERM_BASE_LAYER_H
#define PODTERM_BASE_LAYER_H

#include "base/json.h"

enum cage_layer {
    LAYER_NAMESPACES = 1, /* processes, mounts, users of its own */
    LAYER_CALLS = 2,      /* a filter of system calls */
    LAYER_FILES = 4,      /* Landlock: which files */
    LAYER_PORTS = 8,      /* Landlock: which TCP ports */
    LAYER_SCOPES = 16,    /* Landlock: no abstract socket, no signal outside */
};
#define LAYER_ALL 31
#define LAYER_KNOWN 128 /* beside them, where a set may also be unknown */

/* Set member name of j to the list of their words. */
void layer_to_json(struct json *j, const char *name, unsigned layers);
/* The set that such a list names, or -1 when it is none. */
int layer_of_json(const struct json *list);

#endif
