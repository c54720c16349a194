/*
 * A bundle that lies on this machine: looked at, and its digest taken.
 */
#ifndef PODTERM_CLIENT_ARCHIVE_H
#define PODTERM_CLIENT_ARCHIVE_H

#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ARCHIVE_MAX (INT64_C(64) << 30) /* bytes; servers allow less */
#define ARCHIVE_NAME_MAX 100            /* bytes of its name that are kept */

struct archive {
    int fd; /* owned; read by offset alone */
    int64_t size;
    char name[ARCHIVE_NAME_MAX + 1]; /* the last part of its path */
    char sha256[SHA256_HEX + 1];
};

/* Does text name one by its looks: not a URL, and NAME.tar.gz and the like? */
bool archive_is_named(const char *text);
/* 0, or -1 with *e, which says what to do: ERR_ABSENT (not there), ERR_INPUT
 * (a directory, no archive, empty, too large), ERR_SYSTEM (not readable). */
int archive_open(struct archive *a, const char *path, struct err *e);
void archive_fini(struct archive *a);

#endif
