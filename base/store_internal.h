/*
 * What the stores share behind base/store.h; nobody else includes it.
 */
#ifndef PODTERM_BASE_STORE_INTERNAL_H
#define PODTERM_BASE_STORE_INTERNAL_H

#include "base/store.h"

/* A change as store_update_if takes it. */
typedef int (*store_change_fn)(void *arg, struct store_session *row,
                               struct err *e);

/* What a request to create says beside its row. */
struct store_wish {
    int quota;
    const char *key;
    const uint8_t *body_hash; /* 32 bytes */
    const void *launch;
    size_t launch_len;
    int64_t now_s;
};

struct store_query {
    const char *owner_iss, *owner_sub; /* NULL = all */
    bool only_live;
    int limit;
    /* behind which row: the newest when id is "" */
    int64_t created_ms;
    char id[ID_SIZE];
};

/* Each as the function of that name in store.h says. list gives at most one
 * row more than the limit, which tells that there are more. */
struct store_ops {
    void (*close)(struct store *s);
    int (*create)(struct store *s, struct store_session *row,
                  const struct store_wish *w, struct err *e);
    int (*restore)(struct store *s, struct store_session *row, struct err *e);
    int (*launch_get)(struct store *s, const char *id, struct buf *out,
                      struct err *e);
    int (*launch_drop)(struct store *s, const char *id, struct err *e);
    int (*get)(struct store *s, const char *id, struct store_session *out,
               struct err *e);
    int (*update)(struct store *s, const char *id, store_change_fn change,
                  void *arg, struct store_session *out, struct err *e);
    int (*list)(struct store *s, const struct store_query *q,
                struct store_session **out, struct err *e);
    int (*prune)(struct store *s, int64_t before_ms, struct err *e);
    /* id: a digest's, ID_LEN bytes */
    int (*give_out)(struct store *s, const char *id, int64_t expires_s,
                    int64_t now_s, struct err *e);
    int (*spend)(struct store *s, const char *jti, int64_t expires_s,
                 int64_t now_s, struct err *e);
    int (*changed_since)(struct store *s, int64_t rev, struct store_rev *out,
                         int cap, struct err *e);
    int (*ping)(struct store *s, struct err *e);
    /* NULL = has nothing to say, or to do */
    bool (*warning)(struct store *s, char out[160]);
    int (*demand)(struct store *s, int64_t deficit, struct err *e);
    int (*sweep)(struct store *s, struct err *e);
};

struct store {
    const struct store_ops *ops;
};

/* conf->where is a Redis's address. */
struct store *store_redis_open(const struct store_conf *conf, struct err *e);

/*
 * Let change() alter a copy of old into *row: the id stays, the first end
 * written stands, an ended row has no key. 0, or change()'s -1.
 */
int store_change(const struct store_session *old, struct store_session *row,
                 store_change_fn change, void *arg, struct err *e);
/* -1 ERR_BUSY when as many are live as may be. */
int store_quota_judge(int64_t live, int quota, struct err *e);

#endif
