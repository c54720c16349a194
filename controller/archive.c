#include "controller/archive.h"

#include "base/cache.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct archive {
    char *cache_dir, *cached_path, *keep_path; /* owned */
    char owner[CACHE_OWNER_MAX], sid[ID_SIZE];
    char sha256[sizeof((struct launch *)0)->bundle_sha256];
    int64_t max_bytes;
    struct err failure;
};

struct archive *archive_new(const struct settings *s, const char *session_dir,
                            const struct launch *what)
{
    struct archive *a = mem_zero(1, sizeof *a);

    a->cache_dir = settings_path(s, "cache");
    a->cached_path = mem_printf("%s/" ARCHIVE_CACHED, session_dir);
    a->keep_path = mem_printf("%s/" ARCHIVE_KEEP, session_dir);
    snprintf(a->owner, sizeof a->owner, "%s", what->cache_owner);
    memcpy(a->sid, what->sid, ID_SIZE);
    memcpy(a->sha256, what->bundle_sha256, sizeof a->sha256);
    a->max_bytes = s->bundle_max_bytes;
    return a;
}

void archive_free(struct archive *a)
{
    if (!a)
        return;
    free(a->cache_dir);
    free(a->cached_path);
    free(a->keep_path);
    free(a);
}

void archive_give(const struct archive *a)
{
    cache_link(a->cache_dir, a->owner, a->sha256, a->cached_path);
}

/* The file is its agent's, who may do to it whatever it likes meanwhile:
 * cache_put judges its size once and looks at its own copy. */
static void take_run(void *arg)
{
    struct archive *a = arg;
    own_fd int fd = open(a->keep_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                                           O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return; /* it was given one, or has not said */
    cache_put(a->cache_dir, a->owner, a->sha256, fd, a->max_bytes, &a->failure);
    unlink(a->keep_path);
}

static void taken(void *arg)
{
    struct archive *a = arg;

    if (a->failure.kind)
        log_warn("cache.put", "sid", "s", a->sid, "error", "s", a->failure.text,
                 NULL);
    archive_free(a);
}

void archive_take(struct archive *a, struct worker *w)
{
    if (!worker_add(w, take_run, taken, a))
        archive_free(a);
}
