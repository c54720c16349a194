/*
 * The rules on a file's text, each a pure function of it. What they quote is
 * escaped (sample-cli/text.h).
 */
#ifndef PODTERM_SAMPLE_CLI_RULES_H
#define PODTERM_SAMPLE_CLI_RULES_H

#include "sample-cli/findings.h"
#include "sample-cli/source.h"

#include <stdbool.h>
#include <stddef.h>

#define RULES_QUOTE_COLS 60 /* columns of a line that a finding quotes */

struct rules_conf {
    size_t line_max; /* characters of a line */
    bool is_utf8;    /* quotes may be UTF-8 */
};

/* Lines of more than line_max characters. */
void rules_long_lines(const struct source *s, const struct rules_conf *conf,
                      struct findings *f);
/* Blanks before the end of a line; two of them are a line break in Markdown. */
void rules_trailing(const struct source *s, const struct rules_conf *conf,
                    struct findings *f);
/* The words by which people mark what is unfinished. */
void rules_markers(const struct source *s, const struct rules_conf *conf,
                   struct findings *f);
/* A last line without its end; CR LF and LF in one file. */
void rules_line_ends(const struct source *s, const struct rules_conf *conf,
                     struct findings *f);

#endif
