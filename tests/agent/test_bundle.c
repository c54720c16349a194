/*
 * From a URL to a tree: every refusal says why and leaves nothing behind.
 * This binary is its own unpacker when called with --unpack.
 */
#include "agent/bundle.h"

#include "agent/unpack.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/bundlebed.h"
#include "tests/lib/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the plain way --- */

static void every_format_becomes_a_tree(void **state)
{
    struct bundlebed *f = *state;
    static const char *const names[] = {"good.tar.gz", "good.tar.xz",
                                        "good.tar.zst", "good.zip"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bundlebed_want(f, names[i]);
        bundlebed_ready(f, ROOT_SEEN "/bin/prog");
        assert_null(f->argv[1]);
    }
}

static void stages_tell_the_way_in_order_with_bytes(void **state)
{
    struct bundlebed *f = *state;
    static const char *const order[] = {"fetch", "verified", "unpacked"};
    int at = 0;

    bundlebed_want(f, "good.tar.gz");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    for (int i = 0; i < f->stage_count; i++) {
        const struct bundle_stage *s = &f->stages[i];

        while (at < 3 && strcmp(s->stage, order[at]) != 0)
            at++;
        assert_true(at < 3); /* else out of order */
        if (strcmp(s->state, "done") == 0)
            assert_true(s->done > 0 && s->done == s->total);
    }
    assert_true(bundlebed_has_stage(f, "fetch", "running"));
    assert_true(bundlebed_has_stage(f, "fetch", "done"));
    assert_true(bundlebed_has_stage(f, "verified", "done"));
    assert_true(bundlebed_has_stage(f, "unpacked", "done"));
}

static void a_slow_fetch_tells_how_far_it_is(void **state)
{
    struct bundlebed *f = *state;
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 20000}};
    own_mem char *path = mem_printf("%s/big.tar", bundlebed_archives);
    own_mem char *bytes = NULL;
    int64_t last = -1;
    int steps = 0;
    size_t len;

    bytes = bundlebed_slurp(path, &len);
    bundlebed_want(f, "big.tar");
    f->server = fileserver_start(bytes, len, drip, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
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
    struct bundlebed *f = *state;
    own_mem char *cmd = mem_printf("cd %s && mkdir -p .new-abc/x/y root/old "
                                   "&& touch .new-abc/x/y/z root/old/f",
                                   f->bundle_dir);
    own_mem char *old = mem_printf("%s/root/old", f->bundle_dir);

    assert_int_equal(system(cmd), 0);
    bundlebed_want(f, "good.tar.gz");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    assert_int_equal(access(old, F_OK), -1);
}

/* --- what is verified --- */

static void a_wrong_digest_is_told_with_both(void **state)
{
    struct bundlebed *f = *state;
    char found[SHA256_HEX + 1];

    bundlebed_want(f, "good.tar.gz");
    memcpy(found, f->spec.bundle_sha256, sizeof(found));
    memset(f->spec.bundle_sha256, 'a', SHA256_HEX);
    f->conf.cache_dir = f->cache_dir;
    bundlebed_refused(f, found);
    assert_non_null(strstr(f->e.text, f->spec.bundle_sha256));
    assert_int_equal(f->e.kind, ERR_INPUT);
    assert_false(bundlebed_has_stage(f, "verified", "done"));
    assert_false(bundlebed_has_stage(f, "unpacked", "running"));
    assert_int_equal(bundlebed_entries(f->cache_dir), 0);
}

static void a_wrong_digest_is_fetched_once_only(void **state)
{
    struct bundlebed *f = *state;
    static const struct fileserver_reply plain[] = {{0}};

    bundlebed_want(f, "good.tar.gz");
    f->server = fileserver_start("x", 1, plain, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x?k=hunter2",
             fileserver_port(f->server));
    bundlebed_refused(f, f->spec.bundle_sha256);
    assert_int_equal(fileserver_requests(f->server), 1);
}

static void a_size_that_was_told_is_held(void **state)
{
    struct bundlebed *f = *state;
    struct stat st;

    bundlebed_want(f, "good.tar.gz");
    assert_int_equal(stat(f->spec.bundle_url + 7, &st), 0);
    f->spec.bundle_size = st.st_size + 1;
    bundlebed_refused(f, "bytes, ");
    f->spec.bundle_size = st.st_size;
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
}

static void use_signature(struct bundlebed *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s.minisig", bundlebed_archives, name);
    size_t len;

    free(f->spec.bundle_signature);
    f->spec.bundle_signature = bundlebed_slurp(path, &len);
}

static void a_signature_of_the_operators_key_is_taken(void **state)
{
    struct bundlebed *f = *state;

    bundlebed_want(f, "good.tar.gz");
    bundlebed_use_key(f, "ours");
    use_signature(f, "good.tar.gz");
    bundlebed_ready(f, ROOT_SEEN "/bin/prog");
    free(f->spec.bundle_signature);
}

static void no_other_signature_is(void **state)
{
    struct bundlebed *f = *state;

    bundlebed_want(f, "good.tar.gz");
    /* nobody's key counts where the operator has none */
    use_signature(f, "good.tar.gz");
    bundlebed_refused(f, "signature");
    bundlebed_use_key(f, "ours");
    use_signature(f, "good.tar.xz"); /* rightly signed, other bytes */
    bundlebed_refused(f, "signature");
    use_signature(f, "stranger");
    bundlebed_refused(f, "signature");
    free(f->spec.bundle_signature);
    f->spec.bundle_signature = NULL;
    bundlebed_refused(f, "not signed");
    assert_int_equal(f->e.kind, ERR_DENIED);
}

/* --- what is in it --- */

static void a_bundle_that_cannot_be_started_is_refused(void **state)
{
    struct bundlebed *f = *state;
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
        bundlebed_want(f, rows[i].archive);
        bundlebed_refused(f, rows[i].words);
        assert_true(bundlebed_has_stage(f, "verified", "done"));
        assert_false(bundlebed_has_stage(f, "unpacked", "done"));
    }
}

static void a_command_may_choose_what_is_there_alone(void **state)
{
    struct bundlebed *f = *state;
    char *other[] = {"bin/other", "--flag", NULL};
    char *gone[] = {"bin/none", NULL};

    bundlebed_want(f, "two.tar.gz");
    f->spec.command = other;
    bundlebed_ready(f, ROOT_SEEN "/bin/other");
    assert_string_equal(f->argv[1], "--flag");
    assert_null(f->argv[2]);
    f->spec.command = gone;
    assert_int_equal(bundlebed_run(f), -1);
    assert_non_null(strstr(f->e.text, "bin/none"));
    assert_int_equal(bundlebed_entries(f->bundle_dir), 0);
}

/* --- cancelling --- */

static void a_cancelled_job_says_nothing_and_leaves_nothing(void **state)
{
    struct bundlebed *f = *state;
    static const struct fileserver_reply drip[] = {
        {.trick = FILESERVER_DRIP, .drip_bytes = 100}};
    static uint8_t bytes[100000];
    struct bundle *b;

    bundlebed_want(f, "good.tar.gz");
    f->server = fileserver_start(bytes, sizeof(bytes), drip, 1, NULL);
    snprintf(f->spec.bundle_url, URL_MAX, "http://127.0.0.1:%d/x",
             fileserver_port(f->server));
    b = bundle_start(f->loop, f->worker, &f->conf);
    run_for(f->loop, 300);
    assert_true(bundlebed_has_stage(f, "fetch", "running"));
    bundle_cancel(b);
    worker_free(f->worker); /* waits for it */
    f->worker = NULL;
    run_for(f->loop, 50);
    assert_false(f->is_done);
    assert_int_equal(bundlebed_entries(f->bundle_dir), 0);
    assert_int_equal(bundlebed_entries(f->tmp_dir), 0);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, bundlebed_setup, bundlebed_teardown)

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
        T(a_cancelled_job_says_nothing_and_leaves_nothing),
    };

    if (argc > 1 && strcmp(argv[1], "--unpack") == 0)
        return unpack_child_main(argc, argv);
    return cmocka_run_group_tests(tests, bundlebed_group_setup,
                                  bundlebed_group_teardown);
}
