/*
 * How a session ended, from what its processes left: the agent's report
 * (end.json), the runner's exit (runner.json), and what we wanted. The
 * report is a stranger's word: closed vocabulary, bounded, whole or
 * nothing. The platform's word comes first wherever the runner did not
 * leave with 0, unless no program had been started. Pure functions.
 * Source: PROTOCOL.md 7, `end.json`; SECURITY rule 17.
 */
#ifndef PODTERM_CONTROLLER_REPORT_H
#define PODTERM_CONTROLLER_REPORT_H

#include "base/err.h"
#include "controller/launcher.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_MAX 2048 /* bytes of end.json */
#define RUNNER_MAX 256  /* bytes of runner.json */

struct runner_exit {
    bool is_known;
    bool is_signalled;
    int value; /* exit code or signal */
};

/* 0 with *out, or -1 ERR_INPUT naming the rule broken. */
int report_parse(const void *text, size_t len, struct launch_end *out,
                 struct err *e);
int runner_parse(const void *text, size_t len, struct runner_exit *out,
                 struct err *e);

/* The platform's word in place of the program's exit; times and counts of
 * what was reported stay. */
void report_end_with(struct launch_end *out, enum end_reason reason,
                     const char *detail);

/*
 * The end as it is recorded.
 *
 * report   NULL when there was none or it was not whole
 * wanted   REASON_NONE, or why we ended it ourselves (deleted, start_failed,
 *          lifetime): stands unless the report tells of an earlier end
 */
void report_judge(const struct launch_end *report,
                  const struct runner_exit *runner, enum end_reason wanted,
                  const char *wanted_detail, int64_t now_ms,
                  struct launch_end *out);

#endif
