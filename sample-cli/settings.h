/* What sample-cli can be told on its command line. */
#ifndef PODTERM_SAMPLE_CLI_SETTINGS_H
#define PODTERM_SAMPLE_CLI_SETTINGS_H

#include "base/err.h"
#include "sample-cli/look.h"
#include "sample-cli/review.h"

#include <stdbool.h>
#include <stdint.h>

struct settings {
    struct look_conf look; /* root is borrowed from argv, or from own_root */
    char *own_root;        /* owned; NULL when a directory was named */
    struct review_conf review;
    bool no_review;
    bool as_json;
    bool is_plain;
    bool is_strict;
    int64_t allowed; /* findings that --strict lets pass */
};

/* 0; 1: help or version was printed; -1 with ERR_INPUT. Without an operand
 * the root is the program's own source, in the bundle it came in. */
int settings_load(struct settings *s, int argc, char **argv, struct err *e);
void settings_fini(struct settings *s);

/* DIR/share/source of the program DIR/bin/NAME, the caller's; NULL when the
 * path has no such form. Pure. */
char *settings_source_of(const char *program);

#endif
