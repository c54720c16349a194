/*
 * Files with the same content under several names: of those with the same
 * size a sum is compared, and of those with the same sum every byte. The sum
 * has a key (sample-cli/siphash.h) that is new each time: a tree cannot be
 * made so that each of its files is compared with each.
 */
#ifndef PODTERM_SAMPLE_CLI_SAME_H
#define PODTERM_SAMPLE_CLI_SAME_H

#include "sample-cli/findings.h"
#include "sample-cli/walk.h"

#include <stdbool.h>
#include <stdint.h>

/* Of files of one sum that are not the same (they change meanwhile) so many
 * are compared with those that follow. */
#define SAME_FIRSTS_MAX 8
#define SAME_QUOTE_COLS 120 /* columns of the other's name in a finding */

struct same_conf {
    int64_t bytes_max; /* larger files are left out, as are empty ones */
    bool is_utf8;
    /* asked before a file is read, or compared; NULL = always */
    bool (*goes_on)(void *arg);
    void *arg;
};

/* Adds a finding for every file that has an earlier one's content; names of
 * one and the same file (hard links) are no duplicates. A file that cannot
 * be read is left out: whoever read it first has told. false: goes_on said no,
 * and not all was compared. */
bool same_find(const struct walk *w, const struct same_conf *conf,
               struct findings *f);

#endif
