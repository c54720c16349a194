#include "controller/settings_internal.h"

#include "base/addr.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/url.h"
#include "base/vocab.h"
#include "controller/brokerkeys.h"

#include <string.h>
#include <unistd.h>

/* Each "API=value" of a list goes to what take makes of it. */
static int each(struct settings *s, const char *flag, const char *list,
                int (*take)(struct settings *s, enum broker_api api,
                            const char *value, struct err *e),
                struct err *e)
{
    own_json struct json *items = settings_list(list);

    for (size_t i = 0; i < json_count(items); i++) {
        const char *item = json_str(json_at(items, i));
        const size_t len = strcspn(item, "=");
        own_mem char *name = mem_strn(item, len);
        const int api = broker_api_of(name);

        if (api < 0 || !item[len] || !item[len + 1])
            return err_set(e, ERR_INPUT,
                           "%s: \"%.80s\" is not API=…, an API being "
                           "anthropic or openai",
                           flag, item);
        if (take(s, (enum broker_api)api, item + len + 1, e) < 0)
            return err_wrap(e, "%s", flag);
    }
    return 0;
}

static int take_file(struct settings *s, enum broker_api api, const char *path,
                     struct err *e)
{
    if (s->apis[api].key_file)
        return err_set(e, ERR_INPUT, "%s stands there twice",
                       broker_api_name(api));
    s->apis[api].key_file = mem_str(path);
    return brokerkeys_check(path, e);
}

static int take_upstream(struct settings *s, enum broker_api api,
                         const char *url, struct err *e)
{
    struct url parsed;

    if (!s->apis[api].key_file || s->apis[api].upstream)
        return err_set(e, ERR_INPUT,
                       "%s stands there twice, or has no key in --broker",
                       broker_api_name(api));
    s->apis[api].upstream = mem_str(url);
    return url_check_api(url, &parsed, e);
}

int settings_check_broker(struct settings *s, struct err *e)
{
    struct cidr_list allowed = {0};
    int r;

    if (!*s->broker)
        return *s->broker_upstream || *s->broker_allow_cidrs
                   ? err_set(e, ERR_INPUT,
                             "--broker-upstream and --broker-allow-cidrs "
                             "belong to --broker, which is not set")
                   : 0;
    if (strcmp(s->launcher, "kubernetes") == 0)
        return err_set(e, ERR_INPUT,
                       "--broker is not there for Jobs yet: their programs get "
                       "no key");
    if (egress_mode_of(s->egress) == EGRESS_OPEN)
        return err_set(e, ERR_INPUT,
                       "--broker needs --egress none or proxy: with open all "
                       "programs share one network, and would share one "
                       "another's keys");
    r = cidr_list_parse(s->broker_allow_cidrs, &allowed, e);
    cidr_list_fini(&allowed);
    if (r < 0)
        return err_wrap(e, "--broker-allow-cidrs");
    if (each(s, "--broker", s->broker, take_file, e) < 0)
        return -1;
    return each(s, "--broker-upstream", s->broker_upstream, take_upstream, e);
}

bool settings_has_broker(const struct settings *s, const char *isolation)
{
    return *s->broker && settings_egress(s, isolation) != EGRESS_OPEN;
}

void settings_broker_to_spec(const struct settings *s, const char *isolation,
                             struct json *network)
{
    struct json *j, *apis;

    if (!settings_has_broker(s, isolation))
        return;
    j = json_set(network, "broker", json_object());
    apis = json_set(j, "apis", json_array());
    for (int a = 0; a < BROKER_API_COUNT; a++) {
        struct json *one;

        if (!s->apis[a].key_file)
            continue;
        one = json_set(apis, NULL, json_object());
        json_set_str(one, "name", broker_api_name((enum broker_api)a));
        if (s->apis[a].upstream)
            json_set_str(one, "upstream", s->apis[a].upstream);
    }
    json_set_int(j, "requests", s->broker_requests);
    json_set_int(j, "bytes", s->broker_bytes);
    json_set_int(j, "per_minute", s->broker_per_minute);
    json_set_str(j, "allow_cidrs", s->broker_allow_cidrs);
    json_set_str(j, "deny_cidrs", s->deny_cidrs);
}
