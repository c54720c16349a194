/* Pages of sessions, which changed, and which are old. */
#include "base/store_redis_internal.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_MAX 1000 /* asked for at once */
#define PRUNE_MAX 500    /* removed in one step */
#define PAGES_MAX 50     /* asked for one, where rows cannot be read */
/* Keys looked at in one step: all of their names may be as long as Redis takes
 * them, and lie in its memory twice. */
#define SWEEP_KEYS 100
#define SWEEP_STEPS 20000 /* then the next sweep goes on with what is left */
#define CURSOR_SIZE 24

struct page {
    char set[STORE_REDIS_OWNER_SIZE + 4];
    /* behind which: the last one that was given */
    char from[24], id[ID_SIZE];
    struct store_session *rows;
    int count, want;
};

static struct redis_reply *page_ask(struct store *s, const struct page *p,
                                    struct err *e)
{
    struct redis_cmd c = {0};
    char want[12];

    snprintf(want, sizeof(want), "%d", p->want - p->count);
    redis_arg(&c, "EVAL");
    redis_arg(&c, store_redis_lua_list);
    redis_arg(&c, "0");
    redis_arg(&c, p->set);
    redis_arg(&c, want);
    redis_arg(&c, p->from);
    redis_arg(&c, p->id);
    return store_redis_run(s, &c, NULL, e);
}

/* Row, rev, id and time in turn. A row that cannot be read is left out: it
 * must not hide the others. 1: there may be more; 0; -1 */
static int page_take(struct page *p, const struct redis_reply *r, struct err *e)
{
    const size_t asked = 4 * (size_t)(p->want - p->count);
    struct err ignored = {0};
    int64_t created_ms;

    if (r->kind != REDIS_ARRAY || r->count % 4 || r->count > asked)
        return store_redis_odd(e);
    for (size_t i = 0; i < r->count; i += 4) {
        struct redis_reply **at = r->items + i;

        if (at[2]->kind != REDIS_TEXT || !id_is_valid(at[2]->text) ||
            store_redis_number(at[3], &created_ms) < 0)
            return store_redis_odd(e);
        if (store_redis_row(at[0], at[1], at[2]->text, &p->rows[p->count],
                            &ignored) == 0)
            p->count++;
        snprintf(p->id, sizeof(p->id), "%s", at[2]->text);
        snprintf(p->from, sizeof(p->from), "%lld", (long long)created_ms);
    }
    return r->count == asked && p->count < p->want;
}

int store_redis_list(struct store *s, const struct store_query *q,
                     struct store_session **out, struct err *e)
{
    struct page p = {.want = q->limit + 1};
    char owner[STORE_REDIS_OWNER_SIZE];
    int more = 1;

    if (q->owner_iss) {
        store_redis_owner(q->owner_iss, q->owner_sub, owner);
        snprintf(p.set, sizeof(p.set), "%s:%s", q->only_live ? "ol" : "o",
                 owner);
    } else {
        snprintf(p.set, sizeof(p.set), "%s", q->only_live ? "live" : "all");
    }
    if (q->id[0])
        snprintf(p.from, sizeof(p.from), "%lld", (long long)q->created_ms);
    snprintf(p.id, sizeof(p.id), "%s", q->id);
    p.rows = mem_zero((size_t)p.want, sizeof(*p.rows));
    for (int pages = 0; more > 0 && pages < PAGES_MAX; pages++) {
        own_redis_reply struct redis_reply *r = page_ask(s, &p, e);

        more = r ? page_take(&p, r, e) : -1;
    }
    if (more < 0) {
        free(p.rows);
        return -1;
    }
    *out = p.rows;
    return p.count;
}

static int changes_of(const struct redis_reply *r, struct store_rev *out,
                      int cap, struct err *e)
{
    int n = 0;

    if (r->kind != REDIS_ARRAY || r->count % 2 || r->count > 2 * (size_t)cap)
        return store_redis_odd(e);
    for (size_t i = 0; i < r->count; i += 2) {
        const struct redis_reply *id = r->items[i];

        if (id->kind != REDIS_TEXT || !id_is_valid(id->text) ||
            store_redis_number(r->items[i + 1], &out[n].rev) < 0)
            return store_redis_odd(e);
        snprintf(out[n++].id, ID_SIZE, "%s", id->text);
    }
    return n;
}

int store_redis_changed_since(struct store *s, int64_t rev,
                              struct store_rev *out, int cap, struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    char from[28], many[12];
    struct redis_cmd c = {0};

    if (cap > CHANGES_MAX)
        cap = CHANGES_MAX;
    snprintf(from, sizeof(from), "(%lld", (long long)rev);
    snprintf(many, sizeof(many), "%d", cap);
    redis_arg(&c, "ZRANGEBYSCORE");
    redis_arg(&c, STORE_REDIS_PREFIX "revs");
    redis_arg(&c, from);
    redis_arg(&c, "+inf");
    redis_arg(&c, "WITHSCORES");
    redis_arg(&c, "LIMIT");
    redis_arg(&c, "0");
    redis_arg(&c, many);
    r = store_redis_run(s, &c, NULL, e);
    return r ? changes_of(r, out, cap, e) : -1;
}

/* In steps, so that nobody waits for a long one. */
int store_redis_prune(struct store *s, int64_t before_ms, struct err *e)
{
    int64_t total = 0, n = PRUNE_MAX;
    char before[24], many[12];

    snprintf(before, sizeof(before), "%lld", (long long)before_ms);
    snprintf(many, sizeof(many), "%d", PRUNE_MAX);
    while (n == PRUNE_MAX) {
        own_redis_reply struct redis_reply *r = NULL;
        struct redis_cmd c = {0};

        redis_arg(&c, "EVAL");
        redis_arg(&c, store_redis_lua_prune);
        redis_arg(&c, "0");
        redis_arg(&c, before);
        redis_arg(&c, many);
        r = store_redis_run(s, &c, NULL, e);
        if (!r)
            return -1;
        if (store_redis_number(r, &n) < 0)
            return store_redis_odd(e);
        total += n;
    }
    return (int)total;
}

/* From cursor on; how many went, and cursor is where to go on. */
static int64_t sweep_step(struct store *s, char cursor[CURSOR_SIZE],
                          struct err *e)
{
    own_redis_reply struct redis_reply *r = NULL;
    char longest[12], life[12], keys[12];
    struct redis_cmd c = {0};
    int64_t gone;

    snprintf(longest, sizeof(longest), "%zu",
             strlen(STORE_REDIS_PREFIX "t:") + ID_LEN);
    snprintf(life, sizeof(life), "%d", STORE_SPENT_S_MAX);
    snprintf(keys, sizeof(keys), "%d", SWEEP_KEYS);
    redis_arg(&c, "EVAL");
    redis_arg(&c, store_redis_lua_sweep);
    redis_arg(&c, "0");
    redis_arg(&c, cursor);
    redis_arg(&c, longest);
    redis_arg(&c, life);
    redis_arg(&c, keys);
    r = store_redis_run(s, &c, NULL, e);
    if (!r)
        return -1;
    if (r->kind != REDIS_ARRAY || r->count != 2 ||
        r->items[0]->kind != REDIS_TEXT || r->items[0]->len >= CURSOR_SIZE ||
        store_redis_number(r->items[1], &gone) < 0)
        return store_redis_odd(e);
    snprintf(cursor, CURSOR_SIZE, "%s", r->items[0]->text);
    return gone;
}

int store_redis_sweep(struct store *s, struct err *e)
{
    char cursor[CURSOR_SIZE] = "0";
    int64_t total = 0;

    for (int i = 0; i < SWEEP_STEPS; i++) {
        int64_t gone = sweep_step(s, cursor, e);

        if (gone < 0)
            return -1;
        total += gone;
        if (strcmp(cursor, "0") == 0)
            break;
    }
    return (int)total;
}
