#include "agent/broker_apis.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "runner-image/shim.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define STRING(number) STRING_OF(number)
#define STRING_OF(text) #text
#define HERE "http://127.0.0.1:" STRING(SHIM_BROKER_PORT)
/* Said to no server: the broker leaves it out. */
#define NO_KEY "the-key-is-with-the-broker"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* source: docs.anthropic.com, "API reference" */
static const struct broker_way anthropic[] = {
    {"POST", "/v1/messages"},
    {"POST", "/v1/messages/count_tokens"},
    {"GET", "/v1/models"},
    {"GET", "/v1/models/*"},
};

/* source: platform.openai.com, "API reference" */
static const struct broker_way openai[] = {
    {"POST", "/v1/chat/completions"}, {"POST", "/v1/responses"},
    {"POST", "/v1/embeddings"},       {"GET", "/v1/models"},
    {"GET", "/v1/models/*"},
};

static const struct broker_api_row rows[BROKER_API_COUNT] = {
    [BROKER_ANTHROPIC] =
        {
            .name = "anthropic",
            .upstream = "https://api.anthropic.com",
            .key_head = "x-api-key: ",
            .ways = anthropic,
            .way_count = COUNT(anthropic),
            .base_name = "ANTHROPIC_BASE_URL",
            .base_value = HERE "/anthropic",
            /* the first: with the other, claude asks its user whether this
             * key is to be used */
            .key_names = {"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"},
        },
    [BROKER_OPENAI] =
        {
            .name = "openai",
            .upstream = "https://api.openai.com",
            .key_head = "authorization: Bearer ",
            .ways = openai,
            .way_count = COUNT(openai),
            .base_name = "OPENAI_BASE_URL",
            .base_value = HERE "/openai/v1",
            .key_names = {"OPENAI_API_KEY", NULL},
        },
};

const struct broker_api_row *broker_api_row(enum broker_api a)
{
    return &rows[a];
}

/* --- the target --- */

static bool is_path_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || (c && strchr("-._~:", c));
}

/* The next segment of "/a/b", at most all of it. */
static bool segment_take(struct http_text *path, struct http_text *out)
{
    size_t len = 1;

    if (path->len < 2 || path->at[0] != '/')
        return false;
    while (len < path->len && path->at[len] != '/')
        len++;
    *out = (struct http_text){path->at + 1, len - 1};
    path->at += len;
    path->len -= len;
    return out->len > 0;
}

static bool is_name(struct http_text s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_path_char(s.at[i]))
            return false;
    return !(s.len == 1 && s.at[0] == '.') &&
           !(s.len == 2 && s.at[0] == '.' && s.at[1] == '.');
}

static bool is_path(struct http_text path)
{
    struct http_text segment;

    while (path.len > 0)
        if (!segment_take(&path, &segment) || !is_name(segment))
            return false;
    return true;
}

static bool is_word(struct http_text t, const char *word)
{
    return t.len == strlen(word) && memcmp(t.at, word, t.len) == 0;
}

int broker_target(struct http_text target, enum broker_api *api,
                  struct http_text *path, struct http_text *query)
{
    const char *mark = memchr(target.at, '?', target.len);
    struct http_text rest = {target.at,
                             mark ? (size_t)(mark - target.at) : target.len};
    struct http_text name;
    size_t query_len = target.len - rest.len;

    if (rest.len > BROKER_PATH_MAX || query_len > BROKER_QUERY_MAX ||
        !is_path(rest) || !segment_take(&rest, &name) || rest.len == 0)
        return -1;
    for (int a = 0; a < BROKER_API_COUNT; a++)
        if (is_word(name, rows[a].name)) {
            *api = (enum broker_api)a;
            *path = rest;
            *query = (struct http_text){rest.at + rest.len, query_len};
            return 0;
        }
    return -1;
}

static bool way_fits(const char *pattern, struct http_text path)
{
    struct http_text want = {pattern, strlen(pattern)}, a, b;

    while (segment_take(&want, &a)) {
        if (!segment_take(&path, &b))
            return false;
        if (!(a.len == 1 && a.at[0] == '*') &&
            (a.len != b.len || memcmp(a.at, b.at, a.len) != 0))
            return false;
    }
    return path.len == 0;
}

bool broker_is_allowed(enum broker_api a, struct http_text method,
                       struct http_text path)
{
    for (size_t i = 0; i < rows[a].way_count; i++)
        if (is_word(method, rows[a].ways[i].method) &&
            way_fits(rows[a].ways[i].path, path))
            return true;
    return false;
}

/* --- headers --- */

/* "x-*": any that begins so. */
static bool is_listed(struct http_text name, const char *const *list,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(list[i]);

        if (list[i][len - 1] != '*') {
            if (http_text_is(name, list[i]))
                return true;
        } else if (name.len >= len &&
                   strncasecmp(name.at, list[i], len - 1) == 0) {
            return true;
        }
    }
    return false;
}

bool broker_field_goes(struct http_text name)
{
    /* no accept-encoding: what comes is to be read */
    static const char *const list[] = {
        "accept",
        "accept-language",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "anthropic-version",
        "content-type",
        "idempotency-key",
        "openai-beta",
        "user-agent",
        "x-app",
        "x-client-request-id",
        "x-stainless-*",
    };

    return is_listed(name, list, COUNT(list));
}

bool broker_field_comes(struct http_text name)
{
    /* not whose the key is: anthropic-organization-id, openai-organization */
    static const char *const list[] = {
        "anthropic-ratelimit-*", "cache-control",
        "content-type",          "date",
        "openai-model",          "openai-processing-ms",
        "openai-version",        "request-id",
        "retry-after",           "retry-after-ms",
        "x-ratelimit-*",         "x-request-id",
        "x-should-retry",
    };

    return is_listed(name, list, COUNT(list));
}

/* --- the program --- */

static bool is_set(char *const *env, const char *name)
{
    const size_t len = strlen(name);

    for (; *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return true;
    return false;
}

size_t broker_env(enum broker_api a, char *const *env,
                  char out[BROKER_ENV_MAX][BROKER_ENV_LINE])
{
    const struct broker_api_row *r = &rows[a];
    bool has_key = false;
    size_t n = 0;

    for (size_t i = 0; i < COUNT(r->key_names) && r->key_names[i]; i++)
        has_key = has_key || is_set(env, r->key_names[i]);
    if (is_set(env, r->base_name))
        return 0; /* it asks somebody else */
    snprintf(out[n++], BROKER_ENV_LINE, "%s=%s", r->base_name, r->base_value);
    if (!has_key)
        snprintf(out[n++], BROKER_ENV_LINE, "%s=" NO_KEY, r->key_names[0]);
    return n;
}

/* --- refusals --- */

/* source: docs.anthropic.com, "Errors" */
static const char *type_of(int status)
{
    static const struct {
        int status;
        const char *type;
    } known[] = {
        {401, "authentication_error"}, {403, "permission_error"},
        {404, "not_found_error"},      {408, "timeout_error"},
        {413, "request_too_large"},    {429, "rate_limit_error"},
        {503, "overloaded_error"},     {504, "timeout_error"},
    };

    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].status == status)
            return known[i].type;
    return status >= 500 ? "api_error" : "invalid_request_error";
}

int broker_refusal(enum broker_api a, int status, const char *message,
                   struct buf *out)
{
    const char *open = a == BROKER_OPENAI ? "{\"error\":{\"type\":\""
                                          : "{\"type\":\"error\",\"error\":{"
                                            "\"type\":\"";
    const char *close =
        a == BROKER_OPENAI ? ",\"param\":null,\"code\":null}}" : "}}";

    own_mem char *text = mem_printf("podterm: %s", message);

    if (buf_printf(out, "%s%s\",\"message\":", open, type_of(status)) < 0 ||
        json_quote(out, text, strlen(text)) < 0)
        return -1;
    return buf_append_str(out, close);
}
