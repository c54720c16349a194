/* What holds for every store, and what a row can do without one. */
#include "base/digest.h"
#include "base/redis.h"
#include "base/store_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void store_stage_add(struct store_session *row, const char *stage,
                     const char *state, const char *detail, int64_t now_ms)
{
    struct store_stage *at = NULL;

    for (int i = 0; i < row->stage_count && !at; i++)
        if (strcmp(row->stages[i].stage, stage) == 0 &&
            strcmp(row->stages[i].state, "done") != 0)
            at = &row->stages[i];
    if (!at) {
        if (row->stage_count < STORE_STAGES_MAX)
            row->stage_count++;
        at = &row->stages[row->stage_count - 1];
    }
    snprintf(at->stage, sizeof(at->stage), "%s", stage);
    snprintf(at->state, sizeof(at->state), "%s", state);
    snprintf(at->detail, sizeof(at->detail), "%s", detail ? detail : "");
    at->ms = now_ms - row->created_ms;
}

/* --- rules --- */

/* The first end written stands. */
static void store_keep_end(const struct store_session *old,
                           struct store_session *row)
{
    row->state = old->state;
    row->reason = old->reason;
    row->has_exit = old->has_exit;
    row->exit_code = old->exit_code;
    row->exit_signal = old->exit_signal;
    memcpy(row->detail, old->detail, sizeof(row->detail));
    row->started_ms = old->started_ms;
    row->ended_ms = old->ended_ms;
    row->output_bytes = old->output_bytes;
    row->input_bytes = old->input_bytes;
}

int store_change(const struct store_session *old, struct store_session *row,
                 store_change_fn change, void *arg, struct err *e)
{
    *row = *old;
    if (change(arg, row, e) != 0)
        return -1;
    memcpy(row->id, old->id, sizeof(row->id));
    if (old->state == STATE_ENDED)
        store_keep_end(old, row);
    if (row->state == STATE_ENDED)
        wipe(row->psk_sealed, sizeof(row->psk_sealed));
    return 0;
}

int store_quota_judge(int64_t live, int quota, struct err *e)
{
    if (live >= quota)
        return err_set(e, ERR_BUSY,
                       "%lld sessions are running, as many as one user may "
                       "have; end one first",
                       (long long)live);
    return 0;
}

/* The cursor is "created_ms.id" of the last row given. */
static int store_cursor(const char *cursor, struct store_query *q,
                        struct err *e)
{
    char *end;

    q->created_ms = INT64_MAX;
    if (!cursor[0])
        return 0;
    q->created_ms = strtoll(cursor, &end, 10);
    if (*end != '.' || !id_is_valid(end + 1))
        return err_set(e, ERR_INPUT, "this page's cursor is not one of ours");
    snprintf(q->id, sizeof(q->id), "%s", end + 1);
    return 0;
}

/* --- the interface --- */

struct store *store_open(const struct store_conf *conf, struct err *e)
{
    if (redis_is_url(conf->where))
        return store_redis_open(conf, e);
    if (conf->user || conf->password_file || conf->ca) {
        err_set(e, ERR_INPUT,
                "user, password and CA are for a Redis, which %.100s is not",
                conf->where);
        return NULL;
    }
    return store_sqlite_open(conf->where, e);
}

void store_free(struct store *s)
{
    if (s)
        s->ops->close(s);
}

int store_create_checked(struct store *s, struct store_session *row, int quota,
                         const char *key, const uint8_t body_hash[32],
                         const void *launch, size_t launch_len, int64_t now_s,
                         struct err *e)
{
    const struct store_wish wish = {
        quota, key, body_hash, launch, launch_len, now_s,
    };

    if (launch_len > STORE_LAUNCH_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "what starts the session has %zu bytes, at most %d",
                       launch_len, STORE_LAUNCH_MAX);
    return s->ops->create(s, row, &wish, e);
}

int store_restore(struct store *s, struct store_session *row, struct err *e)
{
    if (row->state == STATE_ENDED)
        wipe(row->psk_sealed, sizeof(row->psk_sealed));
    return s->ops->restore(s, row, e);
}

int store_launch_get(struct store *s, const char *id, struct buf *out,
                     struct err *e)
{
    return s->ops->launch_get(s, id, out, e);
}

int store_launch_drop(struct store *s, const char *id, struct err *e)
{
    return s->ops->launch_drop(s, id, e);
}

int store_get(struct store *s, const char *id, struct store_session *out,
              struct err *e)
{
    return s->ops->get(s, id, out, e);
}

int store_update_if(struct store *s, const char *id,
                    int (*change)(void *arg, struct store_session *row,
                                  struct err *e),
                    void *arg, struct store_session *out, struct err *e)
{
    return s->ops->update(s, id, change, arg, out, e);
}

int store_list(struct store *s, const char *owner_iss, const char *owner_sub,
               bool only_live, const char *cursor, int limit,
               struct store_session **out, char next_cursor[64], struct err *e)
{
    struct store_query q = {.owner_iss = owner_iss,
                            .owner_sub = owner_sub,
                            .only_live = only_live,
                            .limit = limit};
    int n;

    assert(limit >= 1 && limit <= 100);
    if (store_cursor(cursor, &q, e) < 0)
        return -1;
    n = s->ops->list(s, &q, out, e);
    next_cursor[0] = 0;
    if (n > limit) {
        n = limit;
        snprintf(next_cursor, 64, "%lld.%s",
                 (long long)(*out)[n - 1].created_ms, (*out)[n - 1].id);
    }
    return n;
}

int store_prune(struct store *s, int64_t before_ms, struct err *e)
{
    return s->ops->prune(s, before_ms, e);
}

int store_spend(struct store *s, const char *jti, int64_t expires_s,
                int64_t now_s, struct err *e)
{
    return s->ops->spend(s, jti, expires_s, now_s, e);
}

/* What others choose is in no key's name. */
int store_give_out(struct store *s, const char *name, int64_t expires_s,
                   int64_t now_s, struct err *e)
{
    uint8_t sum[SHA256_BYTES];
    char id[SHA256_HEX + 1];

    sha256(name, strlen(name), sum);
    hex_encode(sum, sizeof(sum), id);
    id[ID_LEN] = '\0';
    return s->ops->give_out(s, id, expires_s, now_s, e);
}

int store_changed_since(struct store *s, int64_t rev, struct store_rev *out,
                        int cap, struct err *e)
{
    return s->ops->changed_since(s, rev, out, cap, e);
}

int store_ping(struct store *s, struct err *e)
{
    return s->ops->ping(s, e);
}

bool store_warning(struct store *s, char out[160])
{
    out[0] = '\0';
    return s->ops->warning && s->ops->warning(s, out);
}

int store_demand(struct store *s, int64_t deficit, struct err *e)
{
    if (deficit < 0)
        deficit = 0;
    if (deficit > STORE_DEMAND_MAX)
        deficit = STORE_DEMAND_MAX;
    return s->ops->demand ? s->ops->demand(s, deficit, e) : 0;
}

int store_sweep(struct store *s, struct err *e)
{
    return s->ops->sweep ? s->ops->sweep(s, e) : 0;
}
