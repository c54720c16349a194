#include "tests/lib/bundlebed.h"

#include "base/digest.h"
#include "base/http_client.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "tests/lib/peer.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DONE_MS 15000

char *bundlebed_archives;
bool bundlebed_can_mount;

static void on_stage(void *arg, const struct bundle_stage *s)
{
    struct bundlebed *f = arg;

    assert_false(f->is_done);
    assert_null(strstr(s->detail, "hunter2"));
    if (f->stage_count < STAGES_MAX)
        f->stages[f->stage_count++] = *s;
}

static void on_done(void *arg, char **argv, const struct err *e)
{
    struct bundlebed *f = arg;

    assert_false(f->is_done);
    f->is_done = true;
    f->argv = argv;
    if (!argv)
        f->e = *e;
}

static const struct bundle_verbs verbs = {on_stage, on_done};

int bundlebed_setup(void **state)
{
    struct bundlebed *f = mem_zero(1, sizeof(*f));
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
    rules->url.file_root = bundlebed_archives;
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

int bundlebed_teardown(void **state)
{
    struct bundlebed *f = *state;

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

char *bundlebed_slurp(const char *path, size_t *len)
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

void bundlebed_want(struct bundlebed *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", bundlebed_archives, name);
    own_mem char *bytes = NULL;
    uint8_t sum[SHA256_BYTES];
    size_t len;

    bytes = bundlebed_slurp(path, &len);
    sha256(bytes, len, sum);
    hex_encode(sum, sizeof(sum), f->spec.bundle_sha256);
    snprintf(f->spec.bundle_url, URL_MAX, "file://%s", path);
}

static bool is_done(void *arg)
{
    return ((struct bundlebed *)arg)->is_done;
}

int bundlebed_run(struct bundlebed *f)
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

int bundlebed_entries(const char *path)
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

void bundlebed_ready(struct bundlebed *f, const char *argv0)
{
    own_mem char *root = mem_printf("%s/root", f->bundle_dir);

    if (bundlebed_run(f) < 0)
        fail_msg("refused: %s", f->e.text);
    assert_string_equal(f->argv[0], argv0);
    assert_int_equal(access(root, F_OK), 0);
    assert_int_equal(bundlebed_entries(f->bundle_dir), 1);
    assert_int_equal(bundlebed_entries(f->tmp_dir), 0);
}

void bundlebed_refused(struct bundlebed *f, const char *words)
{
    assert_int_equal(bundlebed_run(f), -1);
    if (!strstr(f->e.text, words))
        fail_msg("want \"%s\", got \"%s\"", words, f->e.text);
    assert_null(strstr(f->e.text, "hunter2"));
    assert_int_equal(bundlebed_entries(f->bundle_dir), 0);
    assert_int_equal(bundlebed_entries(f->tmp_dir), 0);
}

bool bundlebed_has_stage(const struct bundlebed *f, const char *stage,
                         const char *state)
{
    for (int i = 0; i < f->stage_count; i++)
        if (strcmp(f->stages[i].stage, stage) == 0 &&
            strcmp(f->stages[i].state, state) == 0)
            return true;
    return false;
}

void bundlebed_use_key(struct bundlebed *f, const char *name)
{
    own_mem char *path = mem_printf("%s/%s.pub", bundlebed_archives, name);
    own_mem char *text = NULL;
    struct err e;
    size_t len;

    text = bundlebed_slurp(path, &len);
    assert_int_equal(minisign_key_parse(text, &f->spec.fetch.keys[0], &e), 0);
    f->spec.fetch.key_count = 1;
}

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

int bundlebed_group_setup(void **state)
{
    own_mem char *cmd = NULL;

    (void)state;
    seal_init();
    http_client_init();
    bundlebed_archives = scratch_new();
    cmd = mem_printf("sh -c '%s' sh %s", "exec sh \"$1/make.sh\" \"$1\"",
                     bundlebed_archives);
    {
        own_mem char *path = mem_printf("%s/make.sh", bundlebed_archives);
        own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        if (write(fd, make_archives, strlen(make_archives)) < 0)
            return -1;
    }
    if (system(cmd) != 0)
        return -1;
    bundlebed_can_mount =
        unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return 0;
}

int bundlebed_group_teardown(void **state)
{
    (void)state;
    scratch_remove(bundlebed_archives);
    return 0;
}
