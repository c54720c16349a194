#include "controller/create.h"

#include "base/frame.h"
#include "base/seal.h"
#include "base/url.h"

#include <stdio.h>
#include <string.h>

static int want_str(const struct json *from, const char *name, size_t max,
                    const char **out, struct err *e)
{
    const struct json *j = json_get(from, name);
    const char *text = json_str(j);

    if (!text || !*text || strlen(text) > max)
        return err_set(e, ERR_INPUT, "%s must be a text of 1 to %zu bytes",
                       name, max);
    *out = text;
    return 0;
}

static int want_int(const struct json *from, const char *name, int64_t min,
                    int64_t max, int64_t *out, struct err *e)
{
    int64_t value;

    if (json_get_int(from, name, &value) < 0 || value < min || value > max)
        return err_set(e, ERR_INPUT,
                       "%s must be a whole number from %lld to %lld", name,
                       (long long)min, (long long)max);
    *out = value;
    return 0;
}

static int may_int(const struct json *from, const char *name, int64_t min,
                   int64_t max, int64_t *out, struct err *e)
{
    return json_get(from, name) ? want_int(from, name, min, max, out, e) : 0;
}

static bool is_sha256(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static int take_bundle(struct create *c, const struct settings *s,
                       struct err *e)
{
    static const char *const names[] = {"url", "sha256", "size", "signature",
                                        NULL};
    const struct json *b = json_get(c->body, "bundle");
    struct url ignored;

    if (!json_is_object(b))
        return err_set(e, ERR_INPUT,
                       "bundle must be an object with url and sha256");
    if (json_only(b, names, e) < 0)
        return err_wrap(e, "bundle");
    if (want_str(b, "url", URL_MAX - 1, &c->url, e) < 0 ||
        want_str(b, "sha256", 64, &c->sha256, e) < 0 ||
        may_int(b, "size", 1, s->bundle_max_bytes, &c->size, e) < 0)
        return err_wrap(e, "bundle");
    if (!is_sha256(c->sha256))
        return err_set(e, ERR_INPUT,
                       "bundle: sha256 must be 64 lower-case hex digits");
    if (json_get(b, "signature") &&
        want_str(b, "signature", CREATE_SIGNATURE_MAX, &c->signature, e) < 0)
        return err_wrap(e, "bundle");
    if (url_judge(&s->bundles, c->url, &ignored, e) < 0)
        return err_wrap(e, "bundle");
    return 0;
}

static int take_command(struct create *c, struct err *e)
{
    const struct json *list = json_get(c->body, "command");
    size_t count = json_count(list), bytes = 0;

    if (!list)
        return 0;
    if (!json_is_array(list) || count < 1 || count > CREATE_COMMAND_MAX)
        return err_set(e, ERR_INPUT, "command must be a list of 1 to %d words",
                       CREATE_COMMAND_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *word = json_str(json_at(list, i));

        if (!word || (i == 0 && !*word) || strlen(word) > CREATE_WORD_MAX)
            return err_set(e, ERR_INPUT,
                           "command: word %zu must be a text of at most %d "
                           "bytes (the first not empty)",
                           i, CREATE_WORD_MAX);
        bytes += strlen(word) + 1;
    }
    if (bytes > CREATE_COMMAND_BYTES)
        return err_set(e, ERR_INPUT, "command is longer than %d bytes in all",
                       CREATE_COMMAND_BYTES);
    c->command = list;
    return 0;
}

static bool is_env_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                              "abcdefghijklmnopqrstuvwxyz0123456789");

    return len >= 1 && len <= CREATE_ENV_NAME_MAX && name[len] == '\0' &&
           !(name[0] >= '0' && name[0] <= '9');
}

/* Values are secrets: no message shows one. */
static int take_env(struct create *c, struct err *e)
{
    const struct json *env = json_get(c->body, "env");
    size_t count = json_count(env), bytes = 0;

    if (!env)
        return 0;
    if (!json_is_object(env) || count > CREATE_ENV_MAX)
        return err_set(e, ERR_INPUT,
                       "env must be an object of at most %d variables",
                       CREATE_ENV_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct json *member = json_at(env, i);

        if (!is_env_name(json_name(member)))
            return err_set(e, ERR_INPUT,
                           "env: variable %zu has a name that is not "
                           "letters, digits and _ (at most %d)",
                           i, CREATE_ENV_NAME_MAX);
        if (!json_is_string(member))
            return err_set(e, ERR_INPUT, "env: %s is no text",
                           json_name(member));
        bytes += strlen(json_name(member)) + strlen(json_str(member)) + 2;
    }
    if (bytes > CREATE_ENV_BYTES)
        return err_set(e, ERR_INPUT, "env is longer than %d bytes in all",
                       CREATE_ENV_BYTES);
    c->env = env;
    return 0;
}

int create_viewers(const struct json *list,
                   char out[STORE_VIEWERS_MAX][TOKEN_STR_MAX], struct err *e)
{
    size_t count = json_count(list);

    if (!json_is_array(list) || count > STORE_VIEWERS_MAX)
        return err_set(e, ERR_INPUT,
                       "viewers must be a list of at most %d subjects",
                       STORE_VIEWERS_MAX);
    memset(out, 0, STORE_VIEWERS_MAX * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const char *sub = json_str(json_at(list, i));

        if (!sub || !*sub || strlen(sub) >= TOKEN_STR_MAX)
            return err_set(e, ERR_INPUT,
                           "viewers: entry %zu must be a text of 1 to %d "
                           "bytes",
                           i, TOKEN_STR_MAX - 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[k], sub) == 0)
                return err_set(e, ERR_INPUT,
                               "viewers: entry %zu is there twice", i);
        snprintf(out[i], TOKEN_STR_MAX, "%s", sub);
    }
    return 0;
}

static int take_times(struct create *c, const struct settings *s, struct err *e)
{
    c->lifetime_s = s->lifetime_s;
    c->idle_s = s->idle_s;
    if (want_int(c->body, "cols", FRAME_CELLS_MIN, FRAME_CELLS_MAX, &c->cols,
                 e) < 0 ||
        want_int(c->body, "rows", FRAME_CELLS_MIN, FRAME_CELLS_MAX, &c->rows,
                 e) < 0 ||
        may_int(c->body, "lifetime_s", 1, s->lifetime_max_s, &c->lifetime_s,
                e) < 0 ||
        may_int(c->body, "idle_s", 0, s->lifetime_max_s, &c->idle_s, e) < 0)
        return -1;
    return 0;
}

static int take_image(struct create *c, const struct settings *s, struct err *e)
{
    c->image = s->runner_image;
    if (!json_get(c->body, "image"))
        return 0;
    if (!s->is_kube)
        return err_set(e, ERR_DENIED,
                       "image: sessions run on this one machine, where no "
                       "image is used; leave it out");
    if (want_str(c->body, "image", CREATE_IMAGE_MAX, &c->image, e) < 0)
        return -1;
    if (!settings_allows_image(s, c->image))
        return err_set(e, ERR_DENIED,
                       "image: this installation does not run %.200s "
                       "(--runner-images)",
                       c->image);
    return 0;
}

static int take_all(struct create *c, const struct settings *s, struct err *e)
{
    static const char *const names[] = {
        "bundle", "command", "env",     "cols",           "rows", "lifetime_s",
        "idle_s", "image",   "viewers", "viewer_history", NULL};
    const struct json *viewers, *history;

    if (!json_is_object(c->body))
        return err_set(e, ERR_INPUT, "the body must be a JSON object");
    if (json_only(c->body, names, e) < 0 || take_bundle(c, s, e) < 0 ||
        take_command(c, e) < 0 || take_env(c, e) < 0 || take_times(c, s, e) < 0)
        return -1;
    if (take_image(c, s, e) < 0)
        return -1;
    viewers = json_get(c->body, "viewers");
    if (viewers && create_viewers(viewers, c->viewers, e) < 0)
        return -1;
    history = json_get(c->body, "viewer_history");
    c->viewer_history = true;
    if (history &&
        json_get_bool(c->body, "viewer_history", &c->viewer_history) < 0)
        return err_set(e, ERR_INPUT, "viewer_history must be true or false");
    return 0;
}

int create_parse(const void *text, size_t len, const struct settings *s,
                 struct create *out, struct err *e)
{
    struct create c = {0};

    if (len == 0)
        return err_set(e, ERR_INPUT, "the body must be a JSON object");
    c.body = json_parse(text, len, e);
    if (!c.body)
        return err_wrap(e, "body");
    if (take_all(&c, s, e) < 0) {
        create_fini(&c);
        return -1;
    }
    *out = c;
    return 0;
}

void create_wipe(const struct json *env)
{
    for (size_t i = 0; i < json_count(env); i++) {
        const char *value = json_str(json_at(env, i));

        if (value)
            wipe((char *)(uintptr_t)value, strlen(value));
    }
}

void create_fini(struct create *c)
{
    create_wipe(json_get(c->body, "env"));
    json_free(c->body);
    c->body = NULL;
}
