/*
 * What was found, told: for people, or as one JSON object (schema below).
 *
 *   {"root", "files", "directories", "symlinks", "special_files" (FIFOs,
 *    devices, sockets), "bytes", "is_complete",
 *    "languages": [{"name", "files", "lines", "bytes"}],
 *    "findings": [{"rule", "path", "line"?, "text"}],
 *    "counts": {rule: number}, "total",
 *    "review"?: {"state", "detail", "tried": [{"by", "state", "detail",
 *                "tries"}], "by"?, "model"?, "text"?, "is_whole"?,
 *                "note"?, "sent"?: {"bytes", "findings", "parts_of": [path],
 *                "kept_back": [path], "kept_back_total", "text"?}}}
 *
 * "review" is there unless nobody was to be asked (--no-review). Its state is
 * "done", "failed" or "skipped", its detail says why or by whom. Where an
 * answer came, all of it or a part (is_whole is false), there are "by"
 * ("claude-command", "messages-api"), "model" where one was named, "text" as
 * it was sent, not safe for a terminal, and "note" where it was cut or
 * refused.
 *
 * "tried" has each way of asking and what became of it: the reasons.
 *
 * "sent" is there when something was, or would be, sent: the files that have
 * parts in it, and the first BRIEF_KEPT_MAX that were kept back; its text with
 * --review-show, where nobody is asked.
 *
 * Paths are as the file system has them, bytes that are no UTF-8 replaced;
 * where some were, "path_escaped" or "root_escaped" stands beside it, as the
 * text has it: such a byte is \xHH, a backslash \\.
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
/* stage is the review's own, NULL = nobody was to be asked. */
void report_json(FILE *out, struct look *l, struct review *r,
                 const struct task *stage);
/* "sample-cli 0.1.0 looks over ROOT", the first line of all. */
void report_head(FILE *out, const char *root, const struct report_style *style);

#endif
