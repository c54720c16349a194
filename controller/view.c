#include "controller/view.h"

#include "base/layer.h"

#include <stdio.h>
#include <time.h>

void view_time(int64_t wall_ms, char out[VIEW_TIME_MAX])
{
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    size_t n;

    gmtime_r(&s, &tm);
    n = strftime(out, VIEW_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, VIEW_TIME_MAX - n, ".%03dZ", (int)(wall_ms % 1000));
}

static void set_time(struct json *to, const char *name, int64_t wall_ms)
{
    char text[VIEW_TIME_MAX];

    if (wall_ms <= 0)
        return;
    view_time(wall_ms, text);
    json_set_str(to, name, text);
}

static void set_end(struct json *to, const struct store_session *row)
{
    if (row->reason != REASON_NONE)
        json_set_str(to, "reason", end_reason_name(row->reason));
    if (row->has_exit)
        json_set_int(to, "exit_code", row->exit_code);
    if (row->exit_signal)
        json_set_int(to, "signal", row->exit_signal);
    if (row->detail[0])
        json_set_str(to, "detail", row->detail);
    set_time(to, "started_at", row->started_ms);
    set_time(to, "ended_at", row->ended_ms);
}

static void set_stages(struct json *to, const struct store_session *row)
{
    struct json *list = json_set(to, "stages", json_array());

    for (int i = 0; i < row->stage_count; i++) {
        struct json *one = json_set(list, NULL, json_object());

        json_set_str(one, "stage", row->stages[i].stage);
        json_set_str(one, "state", row->stages[i].state);
        json_set_int(one, "ms", row->stages[i].ms);
        if (row->stages[i].detail[0])
            json_set_str(one, "detail", row->stages[i].detail);
    }
}

static void set_owned(struct json *to, const struct store_session *row)
{
    struct json *list = json_set(to, "viewers", json_array());

    for (int i = 0; i < STORE_VIEWERS_MAX && row->viewers[i][0]; i++)
        json_set_str(list, NULL, row->viewers[i]);
    if (row->viewers_untold && row->state != STATE_ENDED)
        json_set_bool(to, "viewers_pending", true);
    json_set_bool(to, "viewer_history", row->viewer_history);
    json_set_int(to, "lifetime_s", row->lifetime_s);
    json_set_int(to, "idle_s", row->idle_s);
    set_stages(to, row);
    if (row->state == STATE_ENDED) {
        json_set_int(to, "output_bytes", row->output_bytes);
        json_set_int(to, "input_bytes", row->input_bytes);
    }
}

struct json *view_session(const struct store_session *row,
                          const char *attach_url, bool is_owner)
{
    struct json *v = json_object(), *bundle;

    json_set_str(v, "id", row->id);
    json_set_str(v, "state", session_state_name(row->state));
    if (row->end_wanted && row->state != STATE_ENDED)
        json_set_bool(v, "ending", true);
    set_end(v, row);
    bundle = json_set(v, "bundle", json_object());
    json_set_str(bundle, "url", row->bundle_url);
    json_set_str(bundle, "sha256", row->bundle_sha256);
    set_time(v, "created_at", row->created_ms);
    if (row->isolation[0])
        json_set_str(v, "isolation", row->isolation);
    json_set_str(v, "egress", egress_mode_name(row->egress));
    if (row->cage & LAYER_KNOWN)
        layer_to_json(v, "cage", row->cage);
    json_set_str(v, "attach_url", attach_url);
    if (is_owner)
        set_owned(v, row);
    return v;
}
