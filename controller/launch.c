#include "controller/launch.h"

#include "base/mem.h"
#include "base/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 7 /* texts, each with its NUL */

void launch_free(struct launch *what)
{
    if (!what)
        return;
    if (what->spec)
        wipe(what->spec, strlen(what->spec));
    free(what->spec);
    free(what->trust);
    free(what->cache_owner);
    free(what->image);
    free(what->record);
    wipe(what, sizeof *what);
    free(what);
}

static int add(struct buf *b, const char *text)
{
    return buf_append(b, text ? text : "", text ? strlen(text) + 1 : 1);
}

static int plain(const struct launch *what, struct buf *b)
{
    char numbers[48];

    snprintf(numbers, sizeof numbers, "%" PRId64 " %" PRIu64, what->deadline_s,
             what->charge);
    if (add(b, what->spec) < 0 || add(b, what->trust) < 0 ||
        add(b, what->cache_owner) < 0 || add(b, what->image) < 0 ||
        add(b, what->record) < 0 || add(b, what->bundle_sha256) < 0)
        return -1;
    return add(b, numbers);
}

int launch_seal(const struct launch *what, const struct keys *k,
                struct buf *out, struct err *e)
{
    uint8_t *at = NULL;
    struct buf b;

    buf_init_secret(&b, STORE_LAUNCH_MAX - SEAL_OVERHEAD);
    if (plain(what, &b) == 0)
        at = buf_reserve(out, b.len + SEAL_OVERHEAD);
    if (at) {
        seal_bytes(k->launch_seal, what->sid, b.data, b.len, at);
        buf_commit(out, b.len + SEAL_OVERHEAD);
    } else {
        err_set(e, ERR_TOO_LARGE,
                "the session's command, env and bundle are longer in all than "
                "can be kept");
    }
    buf_fini_secret(&b);
    return at ? 0 : -1;
}

static char *given(const char *text)
{
    return *text ? mem_str(text) : NULL;
}

static struct launch *of_parts(const char *sid, char *const parts[PARTS],
                               const struct keys *k)
{
    struct launch *what = mem_zero(1, sizeof *what);

    snprintf(what->sid, sizeof what->sid, "%s", sid);
    keys_session(k, sid, what->key);
    what->spec = mem_str(parts[0]);
    what->trust = mem_str(parts[1]);
    what->cache_owner = given(parts[2]);
    what->image = given(parts[3]);
    what->record = given(parts[4]);
    snprintf(what->bundle_sha256, sizeof what->bundle_sha256, "%s", parts[5]);
    sscanf(parts[6], "%" SCNd64 " %" SCNu64, &what->deadline_s, &what->charge);
    return what;
}

struct launch *launch_open(const char *sid, const void *sealed, size_t len,
                           const struct keys *k, struct err *e)
{
    struct launch *what = NULL;
    char *parts[PARTS];
    size_t size = len > SEAL_OVERHEAD ? len - SEAL_OVERHEAD : 0, n = 0;
    char *text = mem_zero(size + 1, 1);

    if (size > 0 && len <= STORE_LAUNCH_MAX &&
        seal_open(k->launch_seal, sid, sealed, len, (uint8_t *)text) == 0)
        for (size_t at = 0; at < size && n < PARTS; n++) {
            parts[n] = text + at;
            at += strlen(parts[n]) + 1;
        }
    if (n == PARTS)
        what = of_parts(sid, parts, k);
    else
        err_set(e, ERR_INPUT,
                "session %s: its start does not open with this "
                "controller's keys",
                sid);
    wipe(text, size);
    free(text);
    return what;
}
