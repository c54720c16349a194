#include "agent/broker_main.h"

#include "agent/broker_budget.h"
#include "agent/egress_child.h"
#include "agent/lockdown.h"
#include "base/file.h"
#include "base/keyfile.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_BYTES (256ul << 20)
#define DESCRIPTORS 1024
#define STACK_BYTES (256ul << 10) /* of a thread that looks a name up */

/* --- rules --- */

static int api_of(const struct json *j, struct broker_rules *out, struct err *e)
{
    static const char *const names[] = {"name", "upstream", NULL};
    const char *name = json_get_str(j, "name");
    const char *url = json_get_str(j, "upstream");
    int api = broker_api_of(name);
    struct broker_upstream *u;
    struct url parsed;
    size_t len;

    if (json_only(j, names, e) < 0)
        return -1;
    if (api < 0)
        return err_set(e, ERR_INPUT, "name: \"%.40s\" is no API's",
                       name ? name : "");
    if (json_get(j, "upstream") && !url)
        return err_set(e, ERR_INPUT, "upstream must be a string");
    u = &out->apis[api];
    if (u->url[0])
        return err_set(e, ERR_INPUT, "%s stands there twice", name);
    if (!url)
        url = broker_api_row((enum broker_api)api)->upstream;
    if (url_check_api(url, &parsed, e) < 0)
        return err_wrap(e, "upstream");
    len = strlen(url);
    if (url[len - 1] == '/')
        len--;
    memcpy(u->url, url, len); /* url_parse's limit is its size */
    u->is_here = url_is_loopback(&parsed);
    return 0;
}

static int number(const struct json *j, const char *name, int64_t max,
                  int64_t *out, struct err *e)
{
    if (json_get_int(j, name, out) < 0 || *out < 1 || *out > max)
        return err_set(e, ERR_INPUT, "%s must be a whole number from 1 to %lld",
                       name, (long long)max);
    return 0;
}

static int lists_of(const struct json *j, struct broker_rules *out,
                    struct err *e)
{
    const char *allow = json_get_str(j, "allow_cidrs");
    const char *deny = json_get_str(j, "deny_cidrs");

    if (!allow || !deny)
        return err_set(e, ERR_INPUT,
                       "allow_cidrs and deny_cidrs are to be there");
    if (cidr_list_parse(allow, &out->addrs.allow, e) < 0)
        return err_wrap(e, "allow_cidrs");
    if (cidr_list_parse(deny, &out->addrs.deny, e) < 0)
        return err_wrap(e, "deny_cidrs");
    return 0;
}

int broker_rules_of(const struct json *j, struct broker_rules *out,
                    struct err *e)
{
    static const char *const names[] = {
        "apis",        "requests",   "bytes", "per_minute",
        "allow_cidrs", "deny_cidrs", NULL};
    const struct json *apis = json_get(j, "apis");

    memset(out, 0, sizeof(*out));
    if (json_only(j, names, e) < 0)
        return -1;
    if (!json_is_array(apis) || json_count(apis) < 1)
        return err_set(e, ERR_INPUT, "apis must be a list of one or more");
    for (size_t i = 0; i < json_count(apis); i++)
        if (api_of(json_at(apis, i), out, e) < 0)
            return err_wrap(e, "apis");
    if (number(j, "requests", BROKER_REQUESTS_MAX, &out->requests, e) < 0 ||
        number(j, "bytes", BROKER_BYTES_MAX, &out->bytes, e) < 0 ||
        number(j, "per_minute", BROKER_PER_MINUTE_MAX, &out->per_minute, e) < 0)
        return -1;
    return lists_of(j, out, e);
}

void broker_rules_fini(struct broker_rules *r)
{
    cidr_list_fini(&r->addrs.allow);
    cidr_list_fini(&r->addrs.deny);
}

int broker_rules_check(const struct json *j, bool has_api[BROKER_API_COUNT],
                       struct err *e)
{
    struct broker_rules *r = mem_zero(1, sizeof(*r));
    int result = broker_rules_of(j, r, e);

    for (int a = 0; result == 0 && a < BROKER_API_COUNT; a++)
        has_api[a] = r->apis[a].url[0] != 0;
    broker_rules_fini(r);
    free(r);
    return result;
}

/* --- keys --- */

static int key_in(const char *text, size_t len, enum broker_api api,
                  struct buf *out, struct err *e)
{
    own_json struct json *j = json_parse(text, len, e);
    const char *key = json_get_str(j, broker_api_name(api));

    if (!j)
        return err_wrap(e, "the keys");
    if (!key)
        return err_set(e, ERR_ABSENT, "there is no key for %s",
                       broker_api_name(api));
    if (buf_append(out, key, strlen(key)) < 0)
        return err_set(e, ERR_INPUT, "the key for %s is too long",
                       broker_api_name(api));
    return keyfile_line(broker_api_name(api), out, e);
}

int broker_key_of_fd(int fd, enum broker_api api, struct buf *out,
                     struct err *e)
{
    char *text = mem_zero(1, BROKER_KEYS_MAX);
    ssize_t len = pread(fd, text, BROKER_KEYS_MAX, 0);
    int r = len < 0 ? err_sys(e, "the keys")
                    : key_in(text, (size_t)len, api, out, e);

    wipe(text, BROKER_KEYS_MAX);
    free(text);
    return r;
}

/* Not keyfile_read: a mounted Secret is a link, and its group's to read. */
int broker_key_of_dir(const char *dir, enum broker_api api, struct buf *out,
                      struct err *e)
{
    own_mem char *path = mem_printf("%s/%s", dir, broker_api_name(api));

    if (file_read(path, out, e) < 0)
        return -1;
    return keyfile_line(path, out, e);
}

/* --- its process --- */

struct child {
    struct egress_child base;
    const char *keys_dir; /* NULL = EGRESS_KEYS_FD */
};

static void refused(void *arg, const char *why)
{
    struct child *c = arg;

    egress_child_refused(&c->base, why, why);
}

static void spent(void *arg, int64_t requests, int64_t bytes)
{
    own_json struct json *j = json_object();

    (void)arg;
    json_set_int(j, "spent_requests", requests);
    json_set_int(j, "spent_bytes", bytes);
    egress_child_say(j);
}

static int key(void *arg, enum broker_api api, struct buf *out, struct err *e)
{
    const struct child *c = arg;

    return c->keys_dir ? broker_key_of_dir(c->keys_dir, api, out, e)
                       : broker_key_of_fd(EGRESS_KEYS_FD, api, out, e);
}

static int rules_of_link(const struct json *j, struct broker_rules *out,
                         struct err *e)
{
    if (!j || broker_rules_of(json_get(j, "rules"), out, e) < 0)
        return -1;
    if (json_get_int(j, "spent_requests", &out->spent_requests) < 0 ||
        json_get_int(j, "spent_bytes", &out->spent_bytes) < 0)
        return err_set(e, ERR_INPUT, "what was spent is not there");
    return 0;
}

/* Before anybody is heard. */
static int lock(const struct child *c, const struct broker_rules *r,
                struct err *e)
{
    const char *const reads[] = {"/etc/ssl",
                                 "/etc/pki",
                                 "/etc/ca-certificates",
                                 "/usr/lib/ssl",
                                 "/usr/share/ca-certificates",
                                 "/usr/local/share/ca-certificates",
                                 c->keys_dir,
                                 NULL};
    uint16_t ports[BROKER_API_COUNT];
    struct lockdown_network n = {.event = "broker.lockdown",
                                 .reads = reads,
                                 .ports = ports,
                                 .has_pairs = true,
                                 .memory_bytes = MEMORY_BYTES,
                                 .descriptors = DESCRIPTORS};
    struct url url;

    for (int a = 0; a < BROKER_API_COUNT; a++)
        if (r->apis[a].url[0]) {
            if (url_check_api(r->apis[a].url, &url, e) < 0)
                return -1;
            ports[n.port_count++] = url.port;
        }
    return lockdown_network(&n, e);
}

static bool is_busy(void *broker)
{
    return broker_count(broker) > 0;
}

/* libcurl has a thread for each look-up, as many as there are connections: with
 * stacks of the usual size they would be more than the memory there is. */
static void small_stacks(void)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

int broker_child_main(int argc, char **argv)
{
    static const struct broker_verbs verbs = {
        .refused = refused, .spent = spent, .key = key};
    struct child c = {.keys_dir = argc > 3 ? argv[3] : NULL};
    struct broker_rules *rules = mem_zero(1, sizeof(*rules));
    own_json struct json *j = NULL;
    struct broker *broker = NULL;
    struct err e = {0};

    small_stacks();
    j = egress_child_begin(&c.base, argc > 2 ? argv[2] : "", &e);
    if (rules_of_link(j, rules, &e) == 0 && lock(&c, rules, &e) == 0) {
        egress_child_locked(&c.base);
        broker =
            broker_new(c.base.loop, EGRESS_LISTEN_FD, rules, &verbs, &c, &e);
    }
    if (!broker) {
        log_err(&e, "broker.failed");
        return EXIT_FAILURE;
    }
    egress_child_run(&c.base, is_busy, broker);
    broker_free(broker);
    _exit(EXIT_SUCCESS);
}
