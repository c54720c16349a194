#include "base/log.h"

#include "base/buf.h"
#include "base/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* bytes with the newline, what a pipe takes in one piece (PIPE_BUF);
 * fields that do not fit are left out */
#define LOG_LINE_MAX 4096
#define LOG_TAIL "}\n"

static const char *const levels[] = {"debug", "info", "warn", "error"};

static struct {
    const char *part;
    char sid[64];
    enum log_level level;
    int fd;
} sink = {.part = "podterm", .level = LOG_INFO_, .fd = 2};

int log_init(const char *part, const char *level)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(levels[i], level) == 0) {
            sink.part = part;
            sink.level = (enum log_level)i;
            return 0;
        }
    return -1;
}

void log_session(const char *sid)
{
    snprintf(sink.sid, sizeof(sink.sid), "%s", sid);
}

void log_fd(int fd)
{
    sink.fd = fd;
}

/* Bytes of a value that are shown, never a part of a character. */
static size_t log_shown(const char *value)
{
    size_t len = strnlen(value, LOG_STR_MAX + 1);

    if (len <= LOG_STR_MAX)
        return len;
    len = LOG_STR_MAX;
    while (len > LOG_STR_MAX - 3 && (value[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static void log_str(struct buf *b, const char *name, const char *value)
{
    size_t before = b->len;

    if (buf_append_str(b, ",") < 0 || json_quote(b, name, strlen(name)) < 0 ||
        buf_append_str(b, ":") < 0 ||
        (value ? json_quote(b, value, log_shown(value))
               : buf_append_str(b, "null")) < 0)
        b->len = before;
}

/* JSON knows neither NaN nor infinity. */
static int log_double(struct buf *b, const char *name, double value)
{
    return isfinite(value) ? buf_printf(b, ",\"%s\":%.6g", name, value)
                           : buf_printf(b, ",\"%s\":null", name);
}

static void log_field(struct buf *b, const char *name, char kind, va_list *ap)
{
    size_t before = b->len;
    int r;

    switch (kind) {
    case 's':
        log_str(b, name, va_arg(*ap, const char *));
        return;
    case 'i':
        r = buf_printf(b, ",\"%s\":%lld", name,
                       (long long)va_arg(*ap, int64_t));
        break;
    case 'b':
        r = buf_printf(b, ",\"%s\":%s", name,
                       va_arg(*ap, int) ? "true" : "false");
        break;
    default:
        r = log_double(b, name, va_arg(*ap, double));
        break;
    }
    if (r < 0)
        b->len = before;
}

static void log_time(struct buf *b)
{
    struct timespec ts;
    struct tm tm;
    char when[32];

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(b, "{\"t\":\"%s.%03ldZ\"", when, ts.tv_nsec / 1000000);
}

void log_write(enum log_level level, const char *event, ...)
{
    struct buf b;
    const char *name;
    va_list ap;
    ssize_t n;

    if (level < sink.level)
        return;
    buf_init(&b, LOG_LINE_MAX - strlen(LOG_TAIL));
    log_time(&b);
    log_str(&b, "lvl", levels[level]);
    log_str(&b, "part", sink.part);
    log_str(&b, "ev", event);
    if (sink.sid[0])
        log_str(&b, "sid", sink.sid);
    va_start(ap, event);
    while ((name = va_arg(ap, const char *)))
        log_field(&b, name, va_arg(ap, const char *)[0], &ap);
    va_end(ap);
    b.max = LOG_LINE_MAX;
    buf_append_str(&b, LOG_TAIL);
    n = write(sink.fd, b.data, b.len);
    (void)n; /* there is nobody to tell */
    buf_fini(&b);
}

void log_err(const struct err *e, const char *event)
{
    log_write(e->kind == ERR_SYSTEM ? LOG_ERROR_ : LOG_WARN_, event, "kind",
              "s", err_word(e->kind), "error", "s", e->text, NULL);
}

bool log_rate_ok(struct log_rate *r, int64_t now_ms)
{
    bool is_due = now_ms >= r->next_ms;

    if (r->told) { /* the last line has carried the count */
        r->suppressed = 0;
        r->told = false;
    }
    if (r->used >= r->burst && !is_due) {
        r->suppressed++;
        return false;
    }
    if (is_due) {
        /* quiet for long: a burst is allowed again */
        if (now_ms - r->next_ms >= (int64_t)r->interval_ms * r->burst)
            r->used = 0;
        r->next_ms = now_ms + r->interval_ms;
    }
    if (r->used < r->burst)
        r->used++;
    r->told = true;
    return true;
}
