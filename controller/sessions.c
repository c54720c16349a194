#include "controller/sessions.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "base/url.h"
#include "controller/app.h"
#include "controller/counts.h"
#include "controller/create.h"
#include "controller/launch.h"
#include "controller/live.h"
#include "controller/reaper.h"
#include "controller/routes.h"
#include "controller/spec.h"
#include "controller/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/statvfs.h>

/* Free on the state's disk when a session begins, beside its ring: the rest
 * of its state, its files, its record. */
#define SESSION_DISK_BYTES (512 << 10)
#define SESSIONS_CLEARING 2 /* under removal that do not count yet */

/* --- what all share --- */

static bool is_owner(const struct call *c, const struct store_session *row)
{
    return strcmp(row->owner_iss, c->who.iss) == 0 &&
           strcmp(row->owner_sub, c->who.sub) == 0;
}

static bool is_viewer(const struct call *c, const struct store_session *row)
{
    if (strcmp(row->owner_iss, c->who.iss) != 0)
        return false;
    for (int i = 0; i < STORE_VIEWERS_MAX && row->viewers[i][0]; i++)
        if (strcmp(row->viewers[i], c->who.sub) == 0)
            return true;
    return false;
}

/* The caller's own session; else the answer is set and -1. */
static int load_own(struct call *c, struct store_session *row)
{
    struct err e = {0};

    if (store_get(c->app->store, c->sid, row, &e) == 0) {
        if (is_owner(c, row))
            return 0;
        err_set(&e, ERR_ABSENT, "another's session");
    }
    answer_err(&c->answer, &e);
    return -1;
}

static void answer_session(struct call *c, int status,
                           const struct store_session *row)
{
    answer_json(&c->answer, status,
                view_session(row, c->app->set->attach_url, true));
}

static void answer_ended(struct call *c, const struct store_session *row,
                         bool owner)
{
    answer_problem_with(&c->answer, 409, "session_ended",
                        "The session has ended.", "session",
                        view_session(row, c->app->set->attach_url, owner));
}

/* A JSON body, said to be one: a page's form cannot send that. */
static struct json *take_body(struct call *c)
{
    struct err e = {0};
    size_t len;
    const uint8_t *bytes = ws_request_body(c->r, &len);
    struct json *body = json_parse(bytes, len, &e);

    if (!body) {
        err_wrap(&e, "body");
        answer_err(&c->answer, &e);
    }
    return body;
}

static bool is_json(struct call *c)
{
    const char *type = ws_request_header(c->r, "content-type");

    if (type && strncasecmp(type, "application/json", 16) == 0 &&
        strchr("; \t", type[16]))
        return true;
    answer_problem(&c->answer, 415, "media_type",
                   "Send JSON: content-type: application/json");
    return false;
}

/* Sign a token for row and answer with the session and it. */
static void answer_token(struct call *c, int status,
                         const struct store_session *row, enum role role)
{
    const struct app *a = c->app;
    struct err e = {0};
    int64_t expires_s = 0;
    char when[VIEW_TIME_MAX];
    char *token = keys_token(&a->keys, a->set->issuer, a->set->installation,
                             row->id, c->who.sub, role, row->bundle_sha256,
                             loop_wall_s(), &expires_s, &e);
    struct json *view;

    if (!token) {
        log_err(&e, "token.sign");
        answer_err(&c->answer, &e);
        return;
    }
    count_add(COUNT_TOKENS, 1);
    view = view_session(row, a->set->attach_url, role == ROLE_OWNER);
    json_set_str(view, "token", token);
    view_time(expires_s * 1000, when);
    json_set_str(view, "token_expires_at", when);
    answer_json(&c->answer, status, view);
    wipe(token, strlen(token));
    free(token);
}

/* --- create --- */

struct birth { /* handed to the loop */
    struct store_session row;
    struct launch *what;
};

static void begin(struct app *app, void *arg)
{
    struct birth *b = arg;

    if (reaper_leads(app->reaper))
        live_start(app->live, &b->row, b->what);
    else
        launch_free(b->what); /* who leads finds it in the store */
    free(b);
}

static void fill_row(const struct call *c, const struct create *want,
                     struct store_session *row)
{
    const struct app *a = c->app;

    memset(row, 0, sizeof *row);
    random_id(row->id);
    random_id(row->psk_id);
    snprintf(row->owner_iss, sizeof row->owner_iss, "%s", c->who.iss);
    snprintf(row->owner_sub, sizeof row->owner_sub, "%s", c->who.sub);
    row->state = STATE_PENDING;
    row->created_ms = loop_wall_ms();
    url_show(want->url, row->bundle_url, sizeof row->bundle_url);
    snprintf(row->bundle_sha256, sizeof row->bundle_sha256, "%s", want->sha256);
    memcpy(row->viewers, want->viewers, sizeof row->viewers);
    row->viewer_history = want->viewer_history;
    row->lifetime_s = want->lifetime_s;
    row->idle_s = want->idle_s;
    row->egress = (uint8_t)settings_egress(a->set, a->launcher->isolation);
    store_stage_add(row, "admitted", "done", "", row->created_ms);
    keys_sealed(&a->keys, row->id, row->psk_sealed);
}

static int idempotency_key(struct call *c, const char **key, struct err *e)
{
    const char *text = ws_request_header(c->r, "idempotency-key");
    size_t len = text ? strlen(text) : 0;
    bool is_good = !text || (len >= 1 && len <= CREATE_KEY_MAX);

    *key = text ? text : "";
    for (size_t i = 0; is_good && i < len; i++)
        is_good = text[i] > 0x20 && text[i] < 0x7f;
    if (!is_good)
        return err_set(e, ERR_INPUT,
                       "idempotency-key must be 1 to %d printable ASCII "
                       "characters without spaces",
                       CREATE_KEY_MAX);
    return 0;
}

/* Takes what. */
static void created(struct call *c, struct launch *what,
                    const struct store_session *row)
{
    struct birth *b = mem_zero(1, sizeof *b);
    own_mem char *where = mem_printf("/api/sessions/%s", row->id);

    b->row = *row;
    b->what = what;
    /* begun whatever the answer will be: the record is there */
    c->after = begin;
    c->after_arg = b;
    count_add(COUNT_CREATED, 1);
    log_info("session.create", "sid", "s", row->id, "owner", "s",
             row->owner_sub, "bundle", "s", row->bundle_sha256, NULL);
    answer_token(c, 201, row, ROLE_OWNER);
    answer_header(&c->answer, "location", where);
}

/* The record, and with it what starts the session where another controller
 * may have to do that. */
static int store_new(const struct call *c, struct store_session *row, int quota,
                     const char *key, const struct launch *what, struct err *e)
{
    const struct app *a = c->app;
    uint8_t hash[SHA256_BYTES];
    struct buf sealed;
    size_t len;
    const uint8_t *body = ws_request_body(c->r, &len);
    int got = 0;

    sha256(body, len, hash);
    buf_init(&sealed, STORE_LAUNCH_MAX);
    if (a->launcher->record)
        got = launch_seal(what, &a->keys, &sealed, e);
    if (got == 0)
        got = store_create_checked(a->store, row, quota, key, hash, sealed.data,
                                   sealed.len, loop_wall_s(), e);
    buf_fini(&sealed);
    return got;
}

/* A session that had no room for its state, or for the record of its end,
 * would only be found out late. */
static int has_room(const struct settings *set, struct err *e)
{
    const uint64_t need = (uint64_t)set->ring_bytes + SESSION_DISK_BYTES;
    struct statvfs fs;

    /* one that cannot be asked, or counts nothing, is believed */
    if (statvfs(set->state_dir, &fs) < 0 || fs.f_blocks == 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize >= need)
        return 0;
    errno = ENOSPC;
    return err_sys(e, "a session's %llu KiB below %s",
                   (unsigned long long)need >> 10, set->state_dir);
}

/*
 * What is being removed takes room, and counts like the sessions that have
 * left it. A few do not, so that who ends one may begin another at once.
 */
static int quota_left(const struct call *c)
{
    const uint64_t charge = spec_charge(c->who.iss, c->who.sub);
    struct launcher *l = c->app->launcher;
    int64_t counted = l->clearing(l, charge) - SESSIONS_CLEARING;
    int64_t left = c->app->set->quota - (counted > 0 ? counted : 0);

    return left > 0 ? (int)left : 0;
}

static int over_quota(int quota, const struct call *c, struct err *e)
{
    count_add(COUNT_REFUSED_QUOTA, 1);
    if (quota == c->app->set->quota)
        return -1;
    return err_set(e, ERR_BUSY,
                   "What your ended sessions have left is still being removed, "
                   "and counts as sessions do: try again in a while.");
}

static int create(struct call *c, struct create *want, struct err *e)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    const struct app *a = c->app;
    struct launch *what;
    const char *key;
    const int quota = quota_left(c);
    int got;

    if (idempotency_key(c, &key, e) < 0 || has_room(a->set, e) < 0)
        return -1;
    fill_row(c, want, row);
    what = spec_launch(a->set, &a->keys, a->launcher->isolation, want, row);
    got = store_new(c, row, quota, key, what, e);
    if (got == STORE_CREATED) {
        created(c, what, row);
        return 0;
    }
    launch_free(what);
    if (got < 0)
        return e->kind == ERR_BUSY ? over_quota(quota, c, e) : -1;
    count_add(COUNT_REPLAYED, 1);
    if (row->state == STATE_ENDED)
        answer_session(c, 200, row);
    else
        answer_token(c, 200, row, ROLE_OWNER);
    return 0;
}

void sessions_create(struct call *c)
{
    struct create want;
    struct err e = {0};
    size_t len;
    const uint8_t *body = ws_request_body(c->r, &len);

    if (!is_json(c))
        return;
    if (create_parse(body, len, c->app->set, &want, &e) < 0) {
        answer_err(&c->answer, &e);
        return;
    }
    if (create(c, &want, &e) < 0) {
        if (e.kind == ERR_SYSTEM)
            log_err(&e, "session.create");
        answer_err(&c->answer, &e);
    }
    create_fini(&want);
}

/* --- read --- */

static int take_limit(struct call *c, int *limit)
{
    const char *text = ws_request_query(c->r, "limit");
    char *end;
    long n;

    *limit = SESSIONS_PAGE;
    if (!text)
        return 0;
    n = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n < 1 || n > SESSIONS_PAGE_MAX) {
        answer_problem(&c->answer, 400, "bad_request",
                       "limit must be a whole number from 1 to 100");
        return -1;
    }
    *limit = (int)n;
    return 0;
}

static int take_live(struct call *c, bool *only_live)
{
    const char *text = ws_request_query(c->r, "live");

    *only_live = text && strcmp(text, "true") == 0;
    if (!text || *only_live || strcmp(text, "false") == 0)
        return 0;
    answer_problem(&c->answer, 400, "bad_request",
                   "live must be true or false");
    return -1;
}

void sessions_list(struct call *c)
{
    const char *cursor = ws_request_query(c->r, "cursor");
    own_mem struct store_session *rows = NULL;
    char next[64] = "";
    struct err e = {0};
    struct json *out, *list;
    bool only_live;
    int limit, n;

    if (take_limit(c, &limit) < 0 || take_live(c, &only_live) < 0)
        return;
    n = store_list(c->app->store, c->who.iss, c->who.sub, only_live,
                   cursor ? cursor : "", limit, &rows, next, &e);
    if (n < 0) {
        answer_err(&c->answer, &e);
        return;
    }
    out = json_object();
    list = json_set(out, "sessions", json_array());
    for (int i = 0; i < n; i++)
        json_set(list, NULL,
                 view_session(&rows[i], c->app->set->attach_url, true));
    if (next[0])
        json_set_str(out, "next_cursor", next);
    answer_json(&c->answer, 200, out);
}

void sessions_get(struct call *c)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);

    if (load_own(c, row) == 0)
        answer_session(c, 200, row);
}

/* --- change --- */

struct change { /* what a transaction is told */
    const struct call *c;
    char (*viewers)[TOKEN_STR_MAX]; /* NULL: end it */
};

/* Ownership is judged again inside the transaction. */
static int change_own(void *arg, struct store_session *row, struct err *e)
{
    const struct change *change = arg;

    if (!is_owner(change->c, row))
        return err_set(e, ERR_ABSENT, "another's session");
    if (row->state == STATE_ENDED)
        return err_set(e, ERR_ENDED, "The session has ended.");
    if (!change->viewers) {
        row->end_wanted = true;
        return 0;
    }
    if (memcmp(row->viewers, change->viewers, sizeof row->viewers) == 0)
        return 0;
    memcpy(row->viewers, change->viewers, sizeof row->viewers);
    row->viewers_untold++;
    return 0;
}

static void tell_now(struct app *app, void *arg)
{
    live_viewers(app->live, arg);
    free(arg);
}

void sessions_patch(struct call *c)
{
    static const char *const names[] = {"viewers", NULL};
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    own_json struct json *body = NULL;
    char viewers[STORE_VIEWERS_MAX][TOKEN_STR_MAX];
    struct change change = {c, viewers};
    struct err e = {0};

    if (load_own(c, row) < 0 || !is_json(c) || !(body = take_body(c)))
        return;
    if (!json_is_object(body))
        err_set(&e, ERR_INPUT, "the body must be a JSON object");
    else if (json_only(body, names, &e) == 0 &&
             create_viewers(json_get(body, "viewers"), viewers, &e) == 0)
        store_update_if(c->app->store, c->sid, change_own, &change, row, &e);
    if (e.kind == ERR_ENDED && store_get(c->app->store, c->sid, row, &e) == 0)
        answer_ended(c, row, true);
    else if (e.kind)
        answer_err(&c->answer, &e);
    else
        answer_session(c, 200, row);
    if (e.kind || !row->viewers_untold)
        return;
    c->after = tell_now;
    c->after_arg = mem_str(c->sid);
    log_info("session.viewers", "sid", "s", c->sid, NULL);
}

static void delete_now(struct app *app, void *arg)
{
    live_delete(app->live, arg);
    free(arg);
}

/* A session may be what fills the disk: it is ended even where its record
 * cannot be written yet. */
static bool wants_room(struct store_session *row, const struct err *e)
{
    if (!e->is_full)
        return false;
    row->end_wanted = true;
    return true;
}

void sessions_delete(struct call *c)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct change change = {c, NULL};
    struct err e = {0};

    if (load_own(c, row) < 0)
        return;
    if (row->state != STATE_ENDED &&
        (store_update_if(c->app->store, c->sid, change_own, &change, row, &e) ==
             0 ||
         wants_room(row, &e))) {
        c->after = delete_now;
        c->after_arg = mem_str(c->sid);
        log_info("session.delete", "sid", "s", c->sid, NULL);
        answer_session(c, 202, row);
    } else if (e.kind && e.kind != ERR_ENDED) {
        answer_err(&c->answer, &e);
    } else if (load_own(c, row) == 0) {
        answer_session(c, 200, row);
    }
}

/* --- token --- */

/* {"role":"owner"|"viewer"}, or nothing for owner. */
static int take_role(struct call *c, enum role *role)
{
    static const char *const names[] = {"role", NULL};
    own_json struct json *body = NULL;
    struct err e = {0};
    const char *text;
    size_t len;

    *role = ROLE_OWNER;
    ws_request_body(c->r, &len);
    if (len == 0)
        return 0;
    if (!is_json(c) || !(body = take_body(c)))
        return -1;
    text = json_get_str(body, "role");
    if (text && strcmp(text, "viewer") == 0)
        *role = ROLE_VIEWER;
    if (!json_is_object(body))
        err_set(&e, ERR_INPUT, "the body must be a JSON object");
    else if (json_only(body, names, &e) == 0 && json_get(body, "role") &&
             !(text && (*role == ROLE_VIEWER || strcmp(text, "owner") == 0)))
        err_set(&e, ERR_INPUT, "role must be owner or viewer");
    if (!e.kind)
        return 0;
    answer_err(&c->answer, &e);
    return -1;
}

void sessions_token(struct call *c)
{
    own_mem struct store_session *row = mem_zero(1, sizeof *row);
    struct err e = {0};
    enum role role;
    bool owner;

    if (store_get(c->app->store, c->sid, row, &e) < 0) {
        answer_err(&c->answer, &e);
        return;
    }
    owner = is_owner(c, row);
    if (!owner && !is_viewer(c, row)) {
        err_set(&e, ERR_ABSENT, "another's session");
        answer_err(&c->answer, &e);
        return;
    }
    if (take_role(c, &role) < 0)
        return;
    if (role == ROLE_OWNER ? !owner : !is_viewer(c, row))
        answer_problem(&c->answer, 403, "denied",
                       role == ROLE_OWNER
                           ? "You may only watch this session: ask for the "
                             "role viewer."
                           : "The session does not list you as a viewer.");
    else if (row->state == STATE_ENDED)
        answer_ended(c, row, owner);
    else
        answer_token(c, 200, row, role);
}
