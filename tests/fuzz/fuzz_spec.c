/* The session spec. */
#include "agent/spec.h"
#include "base/frame.h"
#include "base/seal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count(char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* What was taken keeps what its header promises. */
static void check(const struct agent_spec *s)
{
    size_t env_bytes = 0;

    if (!id_is_valid(s->sid) || !id_is_valid(s->psk_id) || !*s->owner_sub ||
        strlen(s->bundle_sha256) != 64 || !*s->bundle_url || !s->token_keys ||
        s->token_skew_s > TOKEN_SKEW_S || s->token_skew_s < 0)
        abort();
    if (s->viewers.count > FRAME_VIEWERS_MAX || s->viewers.version != 0 ||
        s->fetch.key_count < 0 || s->fetch.key_count > SPEC_KEYS_MAX ||
        s->cols < FRAME_CELLS_MIN || s->cols > FRAME_CELLS_MAX ||
        s->rows < FRAME_CELLS_MIN || s->rows > FRAME_CELLS_MAX)
        abort();
    if (s->ring_bytes & (s->ring_bytes - 1) ||
        s->window_bytes > s->ring_bytes / 2 || s->lifetime_s < 1 ||
        s->unpack.max_entries < 1 || s->unpack.max_bytes < 1 ||
        s->unpack.max_ratio < 1 || s->unpack.max_depth < 1 ||
        s->unpack.max_name < 1 || s->fetch.max_bytes < 1)
        abort();
    if (!s->env || count(s->env) > SPEC_ENV_COUNT_MAX ||
        count(s->command) > SPEC_ARGS_MAX || (s->command && !s->command[0]))
        abort();
    for (char **p = s->env; *p; p++) {
        if (!strchr(*p, '=') || **p == '=')
            abort();
        env_bytes += strlen(*p) + 1;
    }
    if (env_bytes > SPEC_ENV_BYTES_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    struct agent_spec s;
    struct err e = {0};

    if (!is_ready)
        seal_init();
    is_ready = true;
    if (spec_parse((const char *)data, size, &s, &e) < 0) {
        if (e.kind != ERR_INPUT || !e.text[0])
            abort();
        return 0;
    }
    check(&s);
    spec_env_forget(&s);
    spec_fini(&s);
    return 0;
}
