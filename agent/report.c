#include "agent/report.h"

#include "base/json.h"
#include "base/loop.h"
#include "base/layer.h"
#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In place the room there is kept: the launcher took it beforehand, so that a
 * disk that is full meanwhile does not keep an end from being told. Only what
 * would show behind a shorter text is cut off first. */
static int report_put(const char *path, int flags, const struct json *j,
                      struct err *e)
{
    own_mem char *text = json_text(j);
    size_t len = strlen(text);
    own_fd int fd = -1;
    struct stat st;

    if (len > REPORT_MAX)
        return err_set(e, ERR_INPUT, "report of %zu bytes, at most %d", len,
                       REPORT_MAX);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0)
        return err_sys(e, "open %s", path);
    if (fstat(fd, &st) == 0 && st.st_size > (off_t)len && ftruncate(fd, 0) < 0)
        return err_sys(e, "empty %s", path);
    if (write(fd, text, len) != (ssize_t)len)
        return err_sys(e, "write %s", path);
    return 0;
}

/* The launcher makes the file empty. */
static bool report_is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && st.st_size > 0;
}

int report_write(const char *path, const struct state_head *h, struct err *e)
{
    own_json struct json *j = json_object();

    json_set_int(j, "v", 1);
    json_set_str(j, "reason", end_reason_name(h->reason));
    if (h->exit_kind == 0)
        json_set_int(j, "exit_code", h->exit_value);
    else if (h->exit_kind > 0)
        json_set_int(j, "signal", h->exit_value);
    if (h->detail[0])
        json_set_str(j, "detail", h->detail);
    json_set_int(j, "started_ms", h->started_ms);
    json_set_int(j, "ended_ms", h->ended_ms);
    json_set_int(j, "output_bytes", (int64_t)h->output_end);
    json_set_int(j, "input_bytes", (int64_t)h->input_received);
    if (h->started_ms)
        layer_to_json(j, "cage", h->layers);
    return report_put(path, 0, j, e);
}

int report_write_lost(const char *path, enum end_reason reason,
                      const char *detail, struct err *e)
{
    own_json struct json *j = NULL;

    if (report_is_there(path))
        return 0;
    j = json_object();
    json_set_int(j, "v", 1);
    json_set_str(j, "reason", end_reason_name(reason));
    json_set_str(j, "detail", detail);
    json_set_int(j, "ended_ms", loop_wall_ms());
    return report_put(path, 0, j, e);
}

int status_write(const char *path, const char *state, const char *addr,
                 int64_t started_ms, const char *isolation, unsigned layers,
                 struct err *e)
{
    own_json struct json *j = json_object();
    own_mem char *fresh = mem_printf("%s.new", path);

    json_set_int(j, "v", 1);
    json_set_str(j, "state", state);
    json_set_str(j, "addr", addr);
    json_set_int(j, "program_started_ms", started_ms);
    json_set_str(j, "isolation", isolation);
    if (started_ms)
        layer_to_json(j, "cage", layers);
    unlink(fresh);
    if (report_put(fresh, O_EXCL, j, e) < 0 ||
        (rename(fresh, path) < 0 && err_sys(e, "rename to %s", path) < 0)) {
        unlink(fresh);
        return -1;
    }
    return 0;
}
