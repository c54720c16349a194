#include "client/sessions.h"

#include "base/digest.h"
#include "client/reply.h"
#include "client/say.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Since an RFC 3339 time. */
static void sessions_age(const char *when, int64_t now_s, char out[24])
{
    struct tm tm = {0};
    int64_t age;

    snprintf(out, 24, "-");
    if (!when || !strptime(when, "%Y-%m-%dT%H:%M:%S", &tm))
        return;
    age = now_s - (int64_t)timegm(&tm);
    age = age > 0 ? age : 0;
    if (age < 120)
        snprintf(out, 24, "%" PRId64 "s", age);
    else if (age < 7200)
        snprintf(out, 24, "%" PRId64 "m", age / 60);
    else if (age < 172800)
        snprintf(out, 24, "%" PRId64 "h", age / 3600);
    else
        snprintf(out, 24, "%" PRId64 "d", age / 86400);
}

/* The last part of a URL, as a person writes it. */
static void sessions_bundle(const struct json *session, char *out, size_t size)
{
    const char *url = json_get_str(json_get(session, "bundle"), "url");
    const char *slash = url ? strrchr(url, '/') : NULL;
    const char *at = slash && slash[1] ? slash + 1 : url;
    size_t n = 0;

    while (at && *at && n < size - 1) {
        uint8_t byte;

        if (at[0] == '%' && at[1] && at[2] &&
            hex_decode(at + 1, 2, &byte, 1) == 0 && byte) {
            out[n++] = (char)byte;
            at += 3;
        } else {
            out[n++] = *at++;
        }
    }
    out[n] = 0;
}

static void sessions_end(const struct json *session, char *out, size_t size)
{
    struct reply_end end;
    bool ending = false;

    json_get_bool(session, "ending", &ending);
    if (!reply_record(session, &end))
        snprintf(out, size, "%s", ending ? "ending" : "");
    else if (end.reason == REASON_EXITED && end.code >= 0)
        snprintf(out, size, "exited %d", end.code);
    else if (end.reason == REASON_SIGNALLED && end.signal)
        snprintf(out, size, "signal %d", end.signal);
    else
        say_text(end.word, out, size);
}

static void sessions_text(const char *text, char *out, size_t size)
{
    say_text(text && text[0] ? text : "-", out, size);
}

void sessions_row(const struct json *session, int64_t now_s,
                  struct sessions_row *out)
{
    const char *created = json_get_str(session, "created_at");
    char bundle[sizeof(out->bundle)];

    sessions_text(json_get_str(session, "id"), out->id, sizeof(out->id));
    sessions_text(json_get_str(session, "state"), out->state,
                  sizeof(out->state));
    sessions_text(created, out->created, sizeof(out->created));
    sessions_bundle(session, bundle, sizeof(bundle));
    sessions_text(bundle, out->bundle, sizeof(out->bundle));
    sessions_age(created, now_s, out->age);
    sessions_end(session, out->end, sizeof(out->end));
}
