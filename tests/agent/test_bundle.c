/*
 * From a URL to a tree: every refusal says why and leaves nothing behind.
 * This binary is its own unpacker when called with --unpack.
 */
#include "agent/bundle.h"

#include "agent/unpack.h"
#include "base/digest.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/fileserver.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define STAGES_MAX 64
#define DONE_MS 15000
#define ROOT_SEEN "/run/podterm/bundle/root"

static char *scratch; /* archives, keys; made once */
static bool has_namespace;

struct fixture {
    char *dir; /* of this test: bundle/, tmp/, cache/ */
    char *bundle_dir, *tmp_dir, *cache_dir;
    struct loop *loop;
    struct worker *worker;
    struct agent_spec spec;
    struct bundle_conf conf;
    struct fileserver *server;
    char **argv;
    struct err e;
    bool is_done;
    struct bundle_stage stages[STAGES_MAX];
    int stage_count;
};

static void on_stage(void *arg, const struct bundle_stage *s)
{
    struct fixture *f = arg;

    assert_false(f->is_done);
    assert_null(strstr(s->detail, "hunter2"));
    if (f->stage_count < STAGES_MAX)
        f->stages[f->stage_count++] = *s;
}

static void on_done(void *arg, char **argv, const struct err *e)
{
    struct fixture *f = arg;

    assert_false(f->is_done);
    f->is_done = true;
    f->argv = argv;
    if (!argv)
        f->e = *e;
}

static const struct bundle_verbs verbs = {on_stage, on_done};

static int setup(void **state)
{
    struct fixture *f = mem_zero(1, sizeof(*f));
    struct spec_fetch *rules = &f->spec.fetch;

    f->dir = scratch_new();
    f->bundle_dir = mem_printf("%s/bundle", f->dir);
    f->tmp_dir = mem_printf("%s/tmp", f->dir);
    f->cache_dir = mem_printf("%s/cache", f->dir);
    assert_int_equal(mkdir(f->bundle_dir, 0755), 0);
    assert_int_equal(mkdir(f->tmp_dir, 0700), 0);
    assert_int_equal(mkdir(f->cache_dir, 0700), 0);
    f->loop = loop_new();
    f->worker = worker_new(f->loop, 1, 4);
    f->conf = (struct bundle_conf){.spec = &f->spec,
                                   .bundle_dir = f->bundle_dir,
                                   .tmp_dir = f->tmp_dir,
                                   .runner_root = ROOT_SEEN,
                                   .verbs = &verbs,
                                   .arg = f};
    snprintf(f->spec.owner_iss, TOKEN_STR_MAX, "https://issuer.test");
    snprintf(f->spec.owner_sub, TOKEN_STR_MAX, "alice");
    rules->url.allow_http = true;
    rules->url.file_root = scratch;
    rules->addr.allow_loopback = true;
    rules->max_bytes = 8 << 20;
    rules->max_s = 10;
    rules->max_redirects = 5;
    f->spec.unpack = (struct spec_unpack){.max_entries = 1000,
                                          .max_bytes = 64 << 20,
                                          .max_ratio = 10000,
                                          .max_depth = 32,
                                          .max_name = 1024};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    worker_free(f->worker);
    loop_free(f->loop);
    fileserver_stop(f->server);
    bundle_argv_free(f->argv);
    scratch_remove(f->dir);
    free(f->bundle_dir);
    free(f->tmp_dir);
    free(f->cache_dir);
    free(f);
    return 0;
}

static char *slurp(const char *path, size_t *len)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *out;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    out = mem_zero((size_t)st.st_size + 1, 1);
    assert_int_equal(read(fd, out, (size_t)st.st_size), st.st_size);
    *len = (size_t)st.st_size;
    return out;
}

/* Want the archive of this name, as it is. */
static void want(struct fixture *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", scratch, name);
    own_mem char *bytes = NULL;
    uint8_t sum[SHA256_BYTES];
    size_t len;

    bytes = slurp(path, &len);
    sha256(bytes, len, sum);
    hex_encode(sum, sizeof(sum), f->spec.bundle_sha256);
    snprintf(f->spec.bundle_url, URL_MAX, "file://%s", path);
}

static bool is_done(void *arg)
{
    return ((struct fixture *)arg)->is_done;
}

static int run(struct fixture *f)
{
    bundle_argv_free(f->argv);
    f->argv = NULL;
    f->is_done = false;
    f->stage_count = 0;
    f->e = (struct err){0};
    bundle_start(f->loop, f->worker, &f->conf);
    if (!run_until(f->loop, is_done, f, DONE_MS))
        fail_msg("not done within %d ms", DONE_MS);
    return f->argv ? 0 : -1;
}

static int entries(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *de;
    int n = 0;

    assert_non_null(d);
    while ((de = readdir(d)))
        n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void assert_ready(struct fixture *f, const char *argv0)
{
    own_mem char *root = mem_printf("%s/root", f->bundle_dir);

    if (run(f) < 0)
        fail_msg("refused: %s", f->e.text);
    assert_string_equal(f->argv[0], argv0);
    assert_int_equal(access(root, F_OK), 0);
    assert_int_equal(entries(f->bundle_dir), 1);
    assert_int_equal(entries(f->tmp_dir), 0);
}

static void assert_refused(struct fixture *f, const char *words)
{
    assert_int_equal(run(f), -1);
    if (!strstr(f->e.text, words))
        fail_msg("want \"%s\", got \"%s\"", words, f->e.text);
    assert_null(strstr(f->e.text, "hunter2"));
    assert_int_equal(entries(f->bundle_dir), 0);
    assert_int_equal(entries(f->tmp_dir), 0);
}

static bool has_stage(const struct fixture *f, const char *stage,
                      const char *state)
{
    for (int i = 0; i < f->stage_count; i++)
        if (strcmp(f->stages[i].stage, stage) == 0 &&
            strcmp(f->stages[i].state, state) == 0)
            return true;
    return false;
}

/* --- the plain way --- */

static void every_format_becomes_a_tree(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"good.tar.gz", "good.tar.xz",
                                        "good.tar.zst", "good.zip"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        want(f, names[i]);
        assert_ready(f, ROOT_SEEN "/bin/prog");
        assert_null(f->argv[1]);
    }
}

static void stages_tell_the_way_in_order_with_bytes(void **state)
{
    struct fixture *f = *state;
    static const char *const order[] = {"fetch", "verified", "unpacked"};
    int at = 0;

    want(f, "good.tar.gz");
    assert_ready(f, ROOT_SEEN "/bin/prog");
    for (int i = 0; i < f->stage_count; i++) {
        const struct bundle_stage *s = &f->stages[i];

        while (at < 3 && strcmp(s->stage, order[at]) != 0)
            at++;
        assert_true(at < 3); /* else out of order */
        if (strcmp(s->state, "done") == 0)
            assert_true(s->done > 0 && s->done == s->total);
    }
    assert_true(has_stage(f, "fetch", "running"));
    assert_true(has_stage(f, "fetch", "done"));
    assert_true(has_stage(f, "verified", "done"));
    assert_true(has_stage(f, "unpacked", "done"));
}

static void a_slow_fetch_tells_how_far_it_is(void **state)
{
    struct fixture *f = *state;
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 20000}};
    own_mem char *path = mem_printf("%s/big.tar", scratch);
    own_mem char *bytes = NULL;
    int64_t last = -1;
    int steps = 0;
    size_t len;

    bytes = slurp(path, &len);
    want(f, "big.tar");
    f->server = fileserver_start(bytes, len, drip, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    assert_ready(f, ROOT_SEEN "/bin/prog");
    for (int i = 0; i < f->stage_count; i++) {
        const struct bundle_stage *s = &f->stages[i];

        if (strcmp(s->stage, "fetch") != 0 || s->total == 0)
            continue;
        assert_int_equal(s->total, len);
        assert_true(s->done >= last);
        steps += s->done > last;
        last = s->done;
    }
    assert_true(steps >= 3);
    fileserver_stop(f->server);
    f->server = NULL;
}

static void what_an_earlier_life_left_goes(void **state)
{
    struct fixture *f = *state;
    own_mem char *cmd = mem_printf("cd %s && mkdir -p .new-abc/x/y root/old "
                                   "&& touch .new-abc/x/y/z root/old/f",
                                   f->bundle_dir);
    own_mem char *old = mem_printf("%s/root/old", f->bundle_dir);

    assert_int_equal(system(cmd), 0);
    want(f, "good.tar.gz");
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(access(old, F_OK), -1);
}

/* --- what is verified --- */

static void a_wrong_digest_is_told_with_both(void **state)
{
    struct fixture *f = *state;
    char found[SHA256_HEX + 1];

    want(f, "good.tar.gz");
    memcpy(found, f->spec.bundle_sha256, sizeof(found));
    memset(f->spec.bundle_sha256, 'a', SHA256_HEX);
    f->conf.cache_dir = f->cache_dir;
    assert_refused(f, found);
    assert_non_null(strstr(f->e.text, f->spec.bundle_sha256));
    assert_int_equal(f->e.kind, ERR_INPUT);
    assert_false(has_stage(f, "verified", "done"));
    assert_false(has_stage(f, "unpacked", "running"));
    assert_int_equal(entries(f->cache_dir), 0);
}

static void a_wrong_digest_is_fetched_once_only(void **state)
{
    struct fixture *f = *state;
    static const struct fileserver_reply plain[] = {{0}};

    want(f, "good.tar.gz");
    f->server = fileserver_start("x", 1, plain, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    assert_refused(f, f->spec.bundle_sha256);
    assert_int_equal(fileserver_requests(f->server), 1);
}

static void a_size_that_was_told_is_held(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    want(f, "good.tar.gz");
    assert_int_equal(stat(f->spec.bundle_url + 7, &st), 0);
    f->spec.bundle_size = st.st_size + 1;
    assert_refused(f, "bytes, ");
    f->spec.bundle_size = st.st_size;
    assert_ready(f, ROOT_SEEN "/bin/prog");
}

static void use_key(struct fixture *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s.pub", scratch, name);
    own_mem char *text = NULL;
    struct err e;
    size_t len;

    text = slurp(path, &len);
    assert_int_equal(minisign_key_parse(text, &f->spec.fetch.keys[0], &e), 0);
    f->spec.fetch.key_count = 1;
}

static void use_signature(struct fixture *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s.minisig", scratch, name);
    size_t len;

    free(f->spec.bundle_signature);
    f->spec.bundle_signature = slurp(path, &len);
}

static void a_signature_of_the_operators_key_is_taken(void **state)
{
    struct fixture *f = *state;

    want(f, "good.tar.gz");
    use_key(f, "ours");
    use_signature(f, "good.tar.gz");
    assert_ready(f, ROOT_SEEN "/bin/prog");
    free(f->spec.bundle_signature);
}

static void no_other_signature_is(void **state)
{
    struct fixture *f = *state;

    want(f, "good.tar.gz");
    /* nobody's key counts where the operator has none */
    use_signature(f, "good.tar.gz");
    assert_refused(f, "signature");
    use_key(f, "ours");
    use_signature(f, "good.tar.xz"); /* rightly signed, other bytes */
    assert_refused(f, "signature");
    use_signature(f, "stranger");
    assert_refused(f, "signature");
    free(f->spec.bundle_signature);
    f->spec.bundle_signature = NULL;
    assert_refused(f, "not signed");
    assert_int_equal(f->e.kind, ERR_DENIED);
}

/* --- what is in it --- */

static void a_bundle_that_cannot_be_started_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *archive, *words;
    } rows[] = {
        {"none.tar.gz", "bin/"},
        {"two.tar.gz", "bin/other"},
        {"missing.tar.gz", "bin/gone"},
        {"noexec.tar.gz", "bin/prog"},
        {"badjson.tar.gz", "podterm.json"},
        {"noise.tar.gz", "archive"},
        {"cut.tar.gz", "archive"},
        {"escape.tar.gz", "link"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        want(f, rows[i].archive);
        assert_refused(f, rows[i].words);
        assert_true(has_stage(f, "verified", "done"));
        assert_false(has_stage(f, "unpacked", "done"));
    }
}

static void a_command_may_choose_what_is_there_alone(void **state)
{
    struct fixture *f = *state;
    char *other[] = {"bin/other", "--flag", NULL};
    char *gone[] = {"bin/none", NULL};

    want(f, "two.tar.gz");
    f->spec.command = other;
    assert_ready(f, ROOT_SEEN "/bin/other");
    assert_string_equal(f->argv[1], "--flag");
    assert_null(f->argv[2]);
    f->spec.command = gone;
    assert_int_equal(run(f), -1);
    assert_non_null(strstr(f->e.text, "bin/none"));
    assert_int_equal(entries(f->bundle_dir), 0);
}

/* --- the cache --- */

static void serve_good(struct fixture *f)
{
    static const struct fileserver_reply plain[] = {{0}};
    static char *bytes;
    size_t len;
    own_mem char *path = mem_printf("%s/good.tar.gz", scratch);

    free(bytes);
    bytes = slurp(path, &len);
    want(f, "good.tar.gz");
    f->server = fileserver_start(bytes, len, plain, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    f->conf.cache_dir = f->cache_dir;
}

static void a_second_time_it_comes_from_the_cache(void **state)
{
    struct fixture *f = *state;

    serve_good(f);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 1);
    assert_string_equal(f->stages[0].detail, "from the cache");
}

/* As root on one machine: the launcher links, and takes what is left. */
static void what_was_left_can_be_given_to_the_next(void **state)
{
    struct fixture *f = *state;
    own_mem char *keep = mem_printf("%s/archive", f->dir);
    own_mem char *given = mem_printf("%s/cached", f->dir);
    struct stat st;

    serve_good(f);
    f->conf.cache_dir = NULL;
    f->conf.cached_path = given; /* not there yet */
    f->conf.keep_path = keep;
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_ready(f, ROOT_SEEN "/bin/prog"); /* is there already: fine */
    assert_int_equal(fileserver_requests(f->server), 2);
    assert_int_equal(rename(keep, given), 0);
    assert_int_equal(chmod(given, 0444), 0);
    assert_ready(f, ROOT_SEEN "/bin/prog"); /* ours, who could write it */
    assert_int_equal(fileserver_requests(f->server), 3);
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(given, 65534, 65534), 0);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 3);
    assert_string_equal(f->stages[0].detail, "from the cache");
    assert_int_equal(chmod(given, 0464), 0); /* its group could */
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 4);
    assert_int_equal(truncate(given, 9), 0);
    assert_int_equal(chmod(given, 0444), 0);
    assert_ready(f, ROOT_SEEN "/bin/prog"); /* other bytes */
    assert_int_equal(fileserver_requests(f->server), 5);
    assert_int_equal(stat(given, &st), 0); /* and not ours to remove */
}

static void the_cache_is_no_way_round_the_rules(void **state)
{
    struct fixture *f = *state;

    serve_good(f);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    /* another owner has nothing of it */
    snprintf(f->spec.owner_sub, TOKEN_STR_MAX, "bob");
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 2);
    /* the URL's rules and the size's hold on a hit too */
    f->spec.fetch.url.allow_http = false;
    assert_int_equal(run(f), -1);
    assert_int_equal(f->e.kind, ERR_DENIED);
    f->spec.fetch.url.allow_http = true;
    f->spec.bundle_size = 7;
    assert_int_equal(run(f), -1);
    assert_non_null(strstr(f->e.text, "7 were expected"));
    f->spec.bundle_size = 0;
    f->spec.fetch.max_bytes = 10;
    assert_int_equal(run(f), -1);
    assert_non_null(strstr(f->e.text, "larger than 10 bytes"));
    /* a signature that is demanded is not made up for by a hit */
    f->spec.fetch.max_bytes = 8 << 20;
    use_key(f, "ours");
    assert_int_equal(run(f), -1);
    assert_non_null(strstr(f->e.text, "not signed"));
}

static void a_spoilt_cache_entry_is_fetched_anew(void **state)
{
    struct fixture *f = *state;
    own_mem char *cmd =
        mem_printf("cd %s && f=$(ls */*) && chmod 600 $f && echo evil > $f && "
                   "chmod 400 $f",
                   f->cache_dir);
    own_mem char *loose = mem_printf("chmod 644 %s/*/*", f->cache_dir);

    serve_good(f);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(system(cmd), 0);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 2);
    /* right bytes, but somebody may still write to them */
    assert_int_equal(system(loose), 0);
    assert_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(fileserver_requests(f->server), 3);
}

/* --- disks --- */

static void mount_small(const char *path, const char *size)
{
    assert_int_equal(mount("none", path, "tmpfs", 0, size), 0);
}

static void a_full_disk_while_fetching_ends_it(void **state)
{
    struct fixture *f = *state;
    int r, left;

    if (!has_namespace)
        skip();
    want(f, "big.tar");
    mount_small(f->tmp_dir, "size=64k");
    r = run(f);
    left = entries(f->tmp_dir);
    umount(f->tmp_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "disk full while fetching"));
    assert_int_equal(left, 0);
    assert_int_equal(entries(f->bundle_dir), 0);
}

static void a_full_disk_while_unpacking_ends_it(void **state)
{
    struct fixture *f = *state;
    struct stat st = {0};
    int r, left;

    if (!has_namespace)
        skip();
    want(f, "big.tar");
    mount_small(f->bundle_dir, "size=64k,mode=0755");
    r = run(f);
    left = entries(f->bundle_dir);
    stat(f->bundle_dir, &st);
    umount(f->bundle_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "disk full while unpacking"));
    assert_int_equal(left, 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(entries(f->tmp_dir), 0);
}

static void a_full_disk_of_inodes_ends_it(void **state)
{
    struct fixture *f = *state;
    int r, left;

    if (!has_namespace)
        skip();
    want(f, "two.tar.gz");
    mount_small(f->bundle_dir, "size=1m,nr_inodes=4,mode=0755");
    r = run(f);
    left = entries(f->bundle_dir);
    umount(f->bundle_dir);
    assert_int_equal(r, -1);
    assert_non_null(strstr(f->e.text, "No space left"));
    assert_int_equal(left, 0);
}

static void a_full_cache_is_no_error_of_the_session(void **state)
{
    struct fixture *f = *state;
    int r;

    if (!has_namespace)
        skip();
    want(f, "big.tar");
    f->conf.cache_dir = f->cache_dir;
    mount_small(f->cache_dir, "size=64k,mode=0700");
    r = run(f);
    umount(f->cache_dir);
    assert_int_equal(r, 0);
}

/* --- cancelling --- */

static void a_cancelled_job_says_nothing_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 100}};
    static uint8_t bytes[100000];
    struct bundle *b;

    want(f, "good.tar.gz");
    f->server = fileserver_start(bytes, sizeof(bytes), drip, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x",
             fileserver_port(f->server));
    b = bundle_start(f->loop, f->worker, &f->conf);
    run_for(f->loop, 300);
    assert_true(has_stage(f, "fetch", "running"));
    bundle_cancel(b);
    worker_free(f->worker); /* waits for it */
    f->worker = NULL;
    run_for(f->loop, 50);
    assert_false(f->is_done);
    assert_int_equal(entries(f->bundle_dir), 0);
    assert_int_equal(entries(f->tmp_dir), 0);
}

/* --- the whole --- */

static const char make_archives[] =
    "set -e; cd \"$1\"\n"
    "mkdir -p good/bin none/lib two/bin missing/bin noexec/bin badjson/bin\n"
    "mkdir -p big/bin escape/bin\n"
    "printf '#!/bin/sh\\necho hi\\n' > good/bin/prog\n"
    "for d in two missing noexec badjson big escape; do\n"
    "  cp good/bin/prog $d/bin/prog; chmod 755 $d/bin/prog; done\n"
    "chmod 755 good/bin/prog; echo x > none/lib/x\n"
    "cp good/bin/prog two/bin/other; chmod 755 two/bin/other\n"
    "echo '{\"entrypoint\":[\"bin/gone\"]}' > missing/podterm.json\n"
    "chmod 644 noexec/bin/prog\n"
    "echo '{\"entrypoint\":[\"bin/prog\"]}' > noexec/podterm.json\n"
    "echo '{\"entrypoint\":' > badjson/podterm.json\n"
    "head -c 200000 /dev/urandom > big/blob\n"
    "ln -s ../../../../etc escape/bin/etc\n"
    "for d in good none two missing noexec badjson escape; do\n"
    "  tar -C $d -czf $d.tar.gz .; done\n"
    "tar -C good -cJf good.tar.xz .; tar -C good --zstd -cf good.tar.zst .\n"
    "(cd good && zip -qr ../good.zip .)\n"
    "tar -C big -cf big.tar .\n"
    "head -c 5000 /dev/urandom > noise.tar.gz\n"
    "tar -C big -czf whole.tar.gz .; head -c 100000 whole.tar.gz > cut.tar.gz\n"
    "for k in ours theirs; do\n"
    "  minisign -GWf -p $k.pub -s $k.sec > minisign.log 2>&1; done\n"
    "for a in good.tar.gz good.tar.xz; do\n"
    "  minisign -S -s ours.sec -m $a >> minisign.log 2>&1; done\n"
    "minisign -S -s theirs.sec -m good.tar.gz -x stranger.minisig \\\n"
    "  >> minisign.log 2>&1\n";

static int group_setup(void **state)
{
    own_mem char *cmd = NULL;

    (void)state;
    seal_init();
    http_client_init();
    scratch = scratch_new();
    cmd = mem_printf("sh -c '%s' sh %s", "exec sh \"$1/make.sh\" \"$1\"",
                     scratch);
    {
        own_mem char *path = mem_printf("%s/make.sh", scratch);
        own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (write(fd, make_archives, strlen(make_archives)) < 0)
            return -1;
    }
    if (system(cmd) != 0)
        return -1;
    has_namespace = unshare(CLONE_NEWNS) == 0 &&
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(every_format_becomes_a_tree),
        T(stages_tell_the_way_in_order_with_bytes),
        T(a_slow_fetch_tells_how_far_it_is),
        T(what_an_earlier_life_left_goes),
        T(a_wrong_digest_is_told_with_both),
        T(a_wrong_digest_is_fetched_once_only),
        T(a_size_that_was_told_is_held),
        T(a_signature_of_the_operators_key_is_taken),
        T(no_other_signature_is),
        T(a_bundle_that_cannot_be_started_is_refused),
        T(a_command_may_choose_what_is_there_alone),
        T(a_second_time_it_comes_from_the_cache),
        T(what_was_left_can_be_given_to_the_next),
        T(the_cache_is_no_way_round_the_rules),
        T(a_spoilt_cache_entry_is_fetched_anew),
        T(a_full_disk_while_fetching_ends_it),
        T(a_full_disk_while_unpacking_ends_it),
        T(a_full_disk_of_inodes_ends_it),
        T(a_full_cache_is_no_error_of_the_session),
        T(a_cancelled_job_says_nothing_and_leaves_nothing),
    };

    if (argc > 1 && strcmp(argv[1], "--unpack") == 0)
        return unpack_child_main(argc, argv);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
