#include "controller/report.h"

#include "base/json.h"
#include "base/layer.h"
#include "base/mem.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A member that may be absent, within min..max. */
static int take_int(const struct json *j, const char *name, int64_t min,
                    int64_t max, int64_t *out, bool *has, struct err *e)
{
    int64_t value;

    *has = json_get(j, name) != NULL;
    if (!*has)
        return 0;
    if (json_get_int(j, name, &value) < 0 || value < min || value > max)
        return err_set(e, ERR_INPUT, "%s is out of range", name);
    *out = value;
    return 0;
}

static int take_exit(const struct json *j, struct launch_end *out,
                     struct err *e)
{
    int64_t code = 0, signum = 0;
    bool has_code, has_signal;

    if (take_int(j, "exit_code", 0, 255, &code, &has_code, e) < 0 ||
        take_int(j, "signal", 0, 64, &signum, &has_signal, e) < 0)
        return -1;
    out->exit_signal = (int)signum;
    out->exit_code = signum ? 128 + (int)signum : (int)code;
    out->has_exit = has_code || signum;
    return 0;
}

static int take_counts(const struct json *j, struct launch_end *out,
                       struct err *e)
{
    const int64_t most = (INT64_C(1) << 53) - 1;
    bool has;

    if (take_int(j, "started_ms", 0, most, &out->started_ms, &has, e) < 0 ||
        take_int(j, "ended_ms", 0, most, &out->ended_ms, &has, e) < 0 ||
        take_int(j, "output_bytes", 0, most, &out->output_bytes, &has, e) < 0 ||
        take_int(j, "input_bytes", 0, most, &out->input_bytes, &has, e) < 0)
        return -1;
    return 0;
}

static int take_report(const struct json *j, struct launch_end *out,
                       struct err *e)
{
    static const char *const names[] = {
        "v",           "reason",     "exit_code", "signal",
        "detail",      "started_ms", "ended_ms",  "output_bytes",
        "input_bytes", "cage",       NULL};
    const char *reason = json_get_str(j, "reason");
    const char *detail = json_get_str(j, "detail");
    int64_t v;
    int known, layers;

    if (!json_is_object(j) || json_only(j, names, e) < 0)
        return err_set(e, ERR_INPUT, "the report has another form");
    if (json_get_int(j, "v", &v) < 0 || v != 1)
        return err_set(e, ERR_INPUT, "v is not 1");
    known = reason ? end_reason_of(reason) : -1;
    if (known <= REASON_NONE)
        return err_set(e, ERR_INPUT, "reason is none of ours");
    layers = layer_of_json(json_get(j, "cage"));
    if (json_get(j, "cage") && layers < 0)
        return err_set(e, ERR_INPUT, "cage holds a word that is none of ours");
    if (layers >= 0)
        out->layers = (uint8_t)(LAYER_KNOWN | layers);
    out->reason = (enum end_reason)known;
    if (json_get(j, "detail") && !detail)
        return err_set(e, ERR_INPUT, "detail is no text");
    snprintf(out->detail, sizeof out->detail, "%s", detail ? detail : "");
    if (take_exit(j, out, e) < 0)
        return -1;
    return take_counts(j, out, e);
}

int report_parse(const void *text, size_t len, struct launch_end *out,
                 struct err *e)
{
    struct launch_end fresh = {0};
    own_json struct json *j = NULL;

    if (len == 0 || len > REPORT_MAX)
        return err_set(e, ERR_INPUT, "report of %zu bytes", len);
    j = json_parse(text, len, e);
    if (!j || take_report(j, &fresh, e) < 0)
        return -1;
    *out = fresh;
    return 0;
}

int runner_parse(const void *text, size_t len, struct runner_exit *out,
                 struct err *e)
{
    static const char *const names[] = {"status", "value", NULL};
    own_json struct json *j =
        len <= RUNNER_MAX ? json_parse(text, len, e) : NULL;
    const char *status = json_get_str(j, "status");
    int64_t value;

    if (!json_is_object(j) || json_only(j, names, e) < 0 || !status ||
        json_get_int(j, "value", &value) < 0 || value < 0 || value > 255)
        return err_set(e, ERR_INPUT, "runner.json has another form");
    bool is_signalled = strcmp(status, "signalled") == 0;
    if (!is_signalled && strcmp(status, "exited") != 0)
        return err_set(e, ERR_INPUT, "runner.json: unknown status");
    *out = (struct runner_exit){true, is_signalled, (int)value};
    return 0;
}

void report_end_with(struct launch_end *out, enum end_reason reason,
                     const char *detail)
{
    out->reason = reason;
    out->has_exit = false;
    out->exit_code = out->exit_signal = 0;
    snprintf(out->detail, sizeof out->detail, "%s", detail);
}

/* The platform's word: what an exit other than 0 of the runner means. The
 * report's detail is kept where both say the same. */
static void judge_runner(const struct runner_exit *r, struct launch_end *out)
{
    enum end_reason told = out->reason;

    if (!r->is_signalled && r->value == LEAVE_BUNDLE_REFUSED) {
        if (told != REASON_BUNDLE_REFUSED)
            report_end_with(out, REASON_BUNDLE_REFUSED,
                            "The bundle was refused.");
    } else if (!r->is_signalled && r->value == LEAVE_START_FAILED) {
        if (told != REASON_START_FAILED)
            report_end_with(out, REASON_START_FAILED,
                            "The program could not be started.");
    } else if (told != REASON_RUNNER_LOST) {
        report_end_with(out, REASON_RUNNER_LOST,
                        !r->is_signalled && r->value == LEAVE_NO_AGENT
                            ? "The session's agent was gone."
                        : !r->is_signalled && r->value == LEAVE_STOPPED
                            ? "The platform stopped the runner."
                            : "The runner ended unexpectedly.");
    }
}

/*
 * An end that came before any program. The agent does not wait for a runner
 * then: that may still be coming up, and is stopped by its keeper, or leaves
 * by itself, however far it came. So its exit says nothing of the end.
 */
static bool is_before_start(const struct launch_end *report)
{
    return report->started_ms == 0 &&
           (report->reason == REASON_BUNDLE_REFUSED ||
            report->reason == REASON_START_FAILED ||
            report->reason == REASON_DELETED);
}

void report_judge(const struct launch_end *report,
                  const struct runner_exit *runner, enum end_reason wanted,
                  const char *wanted_detail, int64_t now_ms,
                  struct launch_end *out)
{
    struct launch_end end = {0};
    bool is_clean =
        runner->is_known && !runner->is_signalled && runner->value == 0;

    if (report)
        end = *report;
    if (report && (is_clean || !runner->is_known || is_before_start(report))) {
        /* the session's own end, told whole, was before our wish */
    } else if (wanted != REASON_NONE) {
        if (end.reason != wanted)
            report_end_with(&end, wanted, wanted_detail);
    } else if (runner->is_known && !is_clean) {
        judge_runner(runner, &end);
    } else {
        report_end_with(&end, REASON_RUNNER_LOST,
                        "The session's processes are gone without a report.");
    }
    /* a report's clock is a stranger's: no end in the future or missing */
    if (end.ended_ms <= 0 || end.ended_ms > now_ms)
        end.ended_ms = now_ms;
    if (end.started_ms > end.ended_ms)
        end.started_ms = 0;
    *out = end;
}
