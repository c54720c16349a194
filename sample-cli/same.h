/*
 * Files with the same content under several names: of those with the same
 * size a sum is compared, and of those with the same sum every byte.
 */
#ifndef PODTERM_SAMPLE_CLI_SAME_H
#define PODTERM_SAMPLE_CLI_SAME_H

#include "sample-cli/findings.h"
#include "sample-cli/walk.h"

#include <stdbool.h>
#include <stdint.h>

#define SAME_QUOTE_COLS 120 /* columns of the other's name in a finding */

struct same_conf {
    int64_t bytes_max; /* larger files are left out, as are empty ones */
    bool is_utf8;
    bool (*goes_on)(void *arg); /* asked once a file; NULL = always */
    void *arg;
};

/* Adds a finding for every file that has an earlier one's content; names of
 * one and the same file (hard links) are no duplicates. A file that cannot
 * be read is left out: whoever read it first has told. false: goes_on said no,
 * and not all was compared. */
bool same_find(const struct walk *w, const struct same_conf *conf,
               struct findings *f);

#endif
