/* The files an agent and a keeper leave: report, runner's exit. */
#include "controller/report.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct launch_end report, end;
    struct runner_exit runner = {0};
    struct err e = {0};
    int got = report_parse(data, size, &report, &e);

    runner_parse(data, size, &runner, &e);
    report_judge(got == 0 ? &report : NULL, &runner, REASON_NONE, "", 1000,
                 &end);
    /* whatever was said, the record is of the closed vocabulary */
    if (end.reason <= REASON_NONE || end.reason >= REASON_COUNT ||
        end.ended_ms < 1 || end.ended_ms > 1000 ||
        end.started_ms > end.ended_ms)
        abort();
    if (end.has_exit && (end.exit_code < 0 || end.exit_code > 255))
        abort();
    return 0;
}
