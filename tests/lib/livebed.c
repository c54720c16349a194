#include "tests/lib/livebed.h"

#include "base/mem.h"
#include "base/own.h"
#include "controller/launch.h"
#include "controller/record.h"
#include "controller/spec.h"
#include "tests/lib/keysonce.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <poll.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUOTA 1000

static struct livebed *bed; /* a launcher's verbs know only the launcher */

/* --- a launcher that writes down --- */

static void say(const char *fmt, ...)
{
    size_t len = strlen(bed->said);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(bed->said + len, sizeof bed->said - len, fmt, ap);
    va_end(ap);
    assert_true(strlen(bed->said) + 100 < sizeof bed->said);
}

static void do_start(struct launcher *l, struct launch *what)
{
    (void)l;
    say("start:%c ", what->sid[0]);
    launch_free(what);
}

static void do_take_up(struct launcher *l, const char *sid, const char *ref,
                       const char *trusted, struct launch *what)
{
    (void)l;
    (void)trusted;
    say("take_up:%c(%s,%s) ", *sid, ref, what ? "what" : "-");
    launch_free(what);
}

static void do_claim_kept(struct launcher *l, const char *sid)
{
    (void)l;
    say("kept:%c ", *sid);
}

static void do_claim_refused(struct launcher *l, const char *sid)
{
    (void)l;
    say("refused:%c ", *sid);
}

static void do_begin(struct launcher *l, const char *trusted)
{
    (void)l;
    assert_true(strlen(trusted) > 0);
    bed->begins++;
    say("begin ");
}

static void do_end(struct launcher *l, const char *sid, enum end_reason why,
                   const char *detail)
{
    (void)l;
    (void)detail;
    say("end:%c=%s ", *sid, end_reason_name(why));
}

static void do_discard(struct launcher *l, const char *sid)
{
    (void)l;
    say("discard:%c ", *sid);
}

static int do_list(struct launcher *l, char (**sids)[ID_SIZE], struct err *e)
{
    (void)l;
    *sids = NULL;
    while (atomic_load(&bed->is_list_slow))
        poll(NULL, 0, 1);
    if (atomic_load(&bed->is_list_away))
        return err_set(e, ERR_PEER, "nobody");
    if (!bed->listed[0])
        return 0;
    *sids = mem_zero(1, sizeof **sids);
    memcpy((*sids)[0], bed->listed, ID_SIZE);
    return 1;
}

static char *do_record(struct launcher *l, const char *sid)
{
    (void)l;
    (void)sid;
    return bed->record ? mem_str(bed->record) : NULL;
}

static void do_rest(struct launcher *l)
{
    (void)l;
    bed->rests++;
    say("rest ");
}

static int do_count(const struct launcher *l)
{
    (void)l;
    return 0;
}

static int do_clearing(struct launcher *l, uint64_t charge)
{
    (void)l;
    (void)charge;
    return 0;
}

/* --- birth and death --- */

static void open_store(struct livebed *b)
{
    struct err e = {0};

    b->db = mem_printf("%s/podterm.db", b->dir);
    b->app.store = store_sqlite_open(b->db, &e);
    if (!b->app.store)
        fail_msg("%s", e.text);
    keysonce_load(&b->app.keys);
}

void livebed_start(struct livebed *b)
{
    *b = (struct livebed){.dir = scratch_new()};
    bed = b;
    b->set = (struct settings){.is_kube = true,
                               .installation = "here",
                               .issuer = "https://c.example",
                               .start_timeout_s = 600,
                               .keep_s = 3600,
                               .quota = QUOTA};
    b->launcher = (struct launcher){
        .isolation = "full",
        .start = do_start,
        .take_up = do_take_up,
        .claim_kept = do_claim_kept,
        .claim_refused = do_claim_refused,
        .begin = do_begin,
        .end = do_end,
        .discard = do_discard,
        .list = do_list,
        .record = do_record,
        .rest = do_rest,
        .count = do_count,
        .clearing = do_clearing,
    };
    open_store(b);
    b->app.set = &b->set;
    b->app.loop = loop_new();
    b->app.worker = worker_new(b->app.loop, 2, 64);
    b->app.launcher = &b->launcher;
    b->app.live = live_new(&b->app);
    b->launcher.sink = live_sink(b->app.live);
}

void livebed_stop(struct livebed *b)
{
    if (!b->dir)
        return;
    atomic_store(&b->is_list_slow, false);
    worker_free(b->app.worker);
    live_free(b->app.live);
    reaper_stop(b->app.reaper);
    store_free(b->app.store);
    loop_free(b->app.loop);
    keys_fini(&b->app.keys);
    free(b->record);
    free(b->db);
    scratch_remove(b->dir);
    *b = (struct livebed){0};
}

/* --- rows --- */

static void fill(struct livebed *b, char letter, struct store_session *row)
{
    *row = (struct store_session){.owner_iss = "https://i.example",
                                  .owner_sub = "ann",
                                  .state = STATE_PENDING,
                                  .bundle_url = "https://b.example/x",
                                  .viewers = {"bob", "eve"},
                                  .lifetime_s = 3600};
    random_id(row->id);
    row->id[0] = letter;
    random_id(row->psk_id);
    row->created_ms = loop_wall_ms();
    memset(row->bundle_sha256, 'a', 64);
    keys_sealed(&b->app.keys, row->id, row->psk_sealed);
}

struct launch *livebed_what(struct livebed *b, const struct store_session *row)
{
    struct launch *what = mem_zero(1, sizeof *what);

    snprintf(what->sid, sizeof what->sid, "%s", row->id);
    what->spec = mem_str("{}");
    what->trust = spec_trust(&b->app.keys);
    what->record = record_text(row, b->set.installation, &b->app.keys);
    return what;
}

void livebed_row(struct livebed *b, char letter, struct store_session *row)
{
    static const uint8_t hash[32];
    struct launch *what;
    struct buf sealed;
    struct err e = {0};

    fill(b, letter, row);
    what = livebed_what(b, row);
    buf_init(&sealed, STORE_LAUNCH_MAX);
    assert_int_equal(launch_seal(what, &b->app.keys, &sealed, &e), 0);
    if (store_create_checked(b->app.store, row, QUOTA, "", hash, sealed.data,
                             sealed.len, loop_wall_s(), &e) < 0)
        fail_msg("%s", e.text);
    buf_fini(&sealed);
    launch_free(what);
}

void livebed_lose(struct livebed *b, const char *id)
{
    own_mem char *sql = mem_printf("DELETE FROM sessions WHERE id = '%s'", id);
    sqlite3 *db;

    assert_int_equal(sqlite3_open(b->db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* --- waiting --- */

struct wish {
    struct livebed *b;
    const char *text;
    bool (*is)(const struct store_session *row);
    struct store_session *row;
};

static bool is_so(void *arg)
{
    const struct wish *w = arg;
    struct err e = {0};

    return store_get(w->b->app.store, w->text, w->row, &e) == 0 &&
           w->is(w->row);
}

static bool is_said(void *arg)
{
    const struct wish *w = arg;

    return strstr(w->b->said, w->text) != NULL;
}

void livebed_until(struct livebed *b, const char *id,
                   bool (*is)(const struct store_session *row),
                   struct store_session *row)
{
    struct wish w = {b, id, is, row};

    if (!run_until(b->app.loop, is_so, &w, LIVEBED_SOON_MS))
        fail_msg("the row is in state %d; said: %s", row->state, b->said);
}

void livebed_hears(struct livebed *b, const char *text)
{
    struct wish w = {b, text, NULL, NULL};

    if (!run_until(b->app.loop, is_said, &w, LIVEBED_SOON_MS))
        fail_msg("no \"%s\": %s", text, b->said);
}

int livebed_said(const struct livebed *b, const char *text)
{
    int n = 0;

    for (const char *at = b->said; (at = strstr(at, text)); at++)
        n++;
    return n;
}
