#include "agent/specfile.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Read the whole file. Returns its text, the caller's, or NULL. */
static char *specfile_read(const char *path, size_t *len, struct err *e)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    own_mem char *text = NULL;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        err_sys(e, "spec %s", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < 2 ||
        st.st_size > STATE_SPEC_MAX + STATE_ENV_MAX) {
        err_set(e, ERR_INPUT, "spec %s: a file of 2 to %d bytes is wanted",
                path, STATE_SPEC_MAX + STATE_ENV_MAX);
        return NULL;
    }
    text = mem_zero((size_t)st.st_size + 1, 1);
    if (read(fd, text, (size_t)st.st_size) != st.st_size) {
        err_sys(e, "spec %s", path);
        return NULL;
    }
    *len = (size_t)st.st_size;
    return own_mem_give(&text);
}

void specfile_wipe(const struct json *root)
{
    const struct json *env = json_get(root, "env");

    for (size_t i = 0; i < json_count(env); i++) {
        const char *value = json_str(json_at(env, i));

        if (value)
            wipe((char *)(uintptr_t)value, strlen(value));
    }
}

int specfile_keep(const struct json *root, struct state *state, struct err *e)
{
    own_json struct json *rest = json_object();
    own_mem char *text = NULL;
    struct buf env;
    int r = 0;

    buf_init(&env, STATE_ENV_MAX);
    buf_reserve(&env, STATE_ENV_MAX); /* it moves never, and leaves no part */
    for (size_t i = 0; i < json_count(root); i++) {
        const struct json *member = json_at(root, i);

        if (strcmp(json_name(member), "env") != 0)
            json_set(rest, json_name(member), json_dup(member));
        else
            r = json_append(&env, member);
    }
    text = json_text(rest);
    if (r < 0)
        err_set(e, ERR_INPUT, "spec: env has more than %d bytes",
                STATE_ENV_MAX);
    else
        r = state_spec_set(state, text, strlen(text), (char *)env.data, env.len,
                           e);
    buf_fini_secret(&env);
    return r;
}

struct json *specfile_parse(const char *path, struct err *e)
{
    own_mem char *text = NULL;
    struct json *root;
    size_t len;

    text = specfile_read(path, &len, e);
    if (!text)
        return NULL;
    root = json_parse(text, len, e);
    wipe(text, len);
    if (!root)
        err_wrap(e, "spec %s", path);
    return root;
}

static int specfile_first(const char *path, const char *state_path,
                          struct state *state, struct agent_spec *spec,
                          struct err *e)
{
    own_json struct json *root = specfile_parse(path, e);
    int r;

    if (!root)
        return -1;
    r = spec_of(root, spec, e);
    if (r == 0) {
        /* the ring's size is in the spec: the state is opened anew */
        state_close(state);
        r = state_open(state, state_path, (size_t)spec->ring_bytes, e);
    }
    if (r == 0)
        r = specfile_keep(root, state, e);
    specfile_wipe(root);
    return r;
}

static int specfile_again(struct state *state, struct agent_spec *spec,
                          struct err *e)
{
    own_json struct json *root =
        json_parse(state->spec, state->head->spec_len, e);
    int r;

    if (!root)
        return err_wrap(e, "spec in the state file");
    if (state->head->env_len > 0) {
        struct json *env = json_parse(state->env, state->head->env_len, e);

        if (!env)
            return err_wrap(e, "env in the state file");
        json_set(root, "env", env);
    }
    r = spec_of(root, spec, e);
    specfile_wipe(root);
    if (r == 0 && state_viewers(state)->version > 0)
        spec->viewers = *state_viewers(state);
    return r;
}

/* Also after a restart: we may have been killed before we could. */
static int specfile_delete(const char *path, struct err *e)
{
    if (unlink(path) < 0 && errno != ENOENT && errno != EROFS &&
        errno != EACCES && errno != EPERM)
        return err_sys(e, "delete spec %s", path);
    return 0;
}

int specfile_load(const char *spec_path, const char *state_path,
                  struct state *state, struct agent_spec *spec, struct err *e)
{
    int r;

    if (state_open(state, state_path, STATE_RING_MIN, e) < 0)
        return -1;
    r = state->is_resumed
            ? specfile_again(state, spec, e)
            : specfile_first(spec_path, state_path, state, spec, e);
    if (r < 0)
        return -1;
    /* a warm spec is no session's, and holds no secret */
    return state->head->is_activated ? 0 : specfile_delete(spec_path, e);
}
