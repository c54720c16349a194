#include "tests/lib/clusterlog.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/own.h"
#include "controller/kube_internal.h"
#include "controller/podview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LOG_MAX (16 << 20)

double clusterlog_time(const char *text)
{
    struct tm tm = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

    if (!rest) {
        fail_msg("no time: %s", text ? text : "nothing");
        return CLUSTERLOG_NEVER;
    }
    return ((double)timegm(&tm) + strtod(rest, NULL)) * 1000;
}

double clusterlog_when(const char *log, const char *event, const char *sid)
{
    own_mem char *said = mem_printf("\"ev\":\"%s\"", event);
    own_mem char *whose = mem_printf("\"sid\":\"%s\"", sid ? sid : "");
    double at = CLUSTERLOG_NEVER;
    const char *end;

    for (; (end = strchr(log, '\n')); log = end + 1) {
        own_mem char *line = mem_strn(log, (size_t)(end - log));
        const char *t = strstr(line, "{\"t\":\"");

        if (t && strstr(line, said) && (!sid || strstr(line, whose)))
            at = clusterlog_time(t + 6);
    }
    return at;
}

char *clusterlog_controller(struct clusterbed *b)
{
    struct err e = {0};
    struct buf log;
    char *text;

    buf_init(&log, LOG_MAX);
    if (file_read(b->controllers[0].log, &log, &e) < 0)
        fail_msg("%s", e.text);
    text = mem_str(buf_cstr(&log));
    buf_fini(&log);
    return text;
}

/* What is answered is no JSON: kube_do does not take it. */
static char *get_text(struct clusterbed *b, const char *path)
{
    struct http_answer a;
    struct kube_try t;
    struct err e = {0};
    char *text;

    if (kube_try_init(&t, b->kube, path, &e) < 0 ||
        http_do(&t.request, &a, &e) < 0)
        fail_msg("%s: %s", path, e.text);
    if (a.status != 200)
        fail_msg("%s: %d %s", path, a.status, buf_cstr(&a.body));
    text = mem_str(buf_cstr(&a.body));
    http_answer_fini(&a);
    kube_try_fini(&t);
    return text;
}

char *clusterlog_agent(struct clusterbed *b, const char *sid)
{
    own_json struct json *pod = clusterbed_pod(b, sid);
    const char *name = json_get_str(json_get(pod, "metadata"), "name");
    own_mem char *path =
        mem_printf("/api/v1/namespaces/%s/pods/%s/log?container=%s", b->ns,
                   name ? name : "none", PODVIEW_AGENT);

    return get_text(b, path);
}
