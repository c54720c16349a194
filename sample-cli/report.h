/*
 * What was found, told: for people, or as one JSON object (schema below).
 *
 *   {"root", "files", "directories", "symlinks", "bytes", "is_complete",
 *    "languages": [{"name", "files", "lines", "bytes"}],
 *    "findings": [{"rule", "path", "line"?, "text"}],
 *    "counts": {rule: number}, "total"}
 *
 * Paths are as the file system has them, bytes that are no UTF-8 replaced.
 * Of each rule at most FINDINGS_KEPT_MAX findings are listed, all counted.
 */
#ifndef PODTERM_SAMPLE_CLI_REPORT_H
#define PODTERM_SAMPLE_CLI_REPORT_H

#include "sample-cli/look.h"
#include "sample-cli/review.h"

#include <stdbool.h>
#include <stdio.h>

struct report_style {
    bool is_utf8;
    bool has_color;
};

/* The review, made safe for a terminal, and who it is by; nothing where there
 * is none. */
void report_review(FILE *out, struct review *r,
                   const struct report_style *style);
/* Both sort the findings. Errors are those of the stream (ferror). */
void report_text(FILE *out, struct look *l, const struct report_style *style);
void report_json(FILE *out, struct look *l);
/* "sample-cli 0.1.0 looks over ROOT", the first line of all. */
void report_head(FILE *out, const char *root, const struct report_style *style);

#endif
