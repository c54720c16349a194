/* Which program a bundle starts, as a hostile bundle would answer it. */
#include "agent/manifest.h"

#include "agent/state.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEEN_AT "/run/podterm/bundle/root"

static char *dir;
static int root_fd = -1;
static struct err e;

static int setup(void **arg)
{
    own_mem char *root = NULL;

    (void)arg;
    dir = scratch_new();
    root = mem_printf("%s/root", dir);
    assert_int_equal(mkdir(root, 0755), 0);
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root_fd >= 0);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    close(root_fd);
    scratch_remove(dir);
    return 0;
}

static void put(const char *name, mode_t mode, const char *text)
{
    own_fd int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
}

static void make_dir(const char *name)
{
    assert_int_equal(mkdirat(root_fd, name, 0755), 0);
}

static void put_manifest(const char *text)
{
    put(MANIFEST_FILE, 0644, text);
}

static void argv_free(char **argv)
{
    for (char **p = argv; p && *p; p++)
        free(*p);
    free(argv);
}

/* The words with a blank between, in a static buffer; NULL when refused. */
static const char *words(char *const *command)
{
    static char out[8192];
    char **argv = NULL;

    e = (struct err){0};
    out[0] = 0;
    if (manifest_argv(root_fd, SEEN_AT, command, &argv, &e) < 0) {
        assert_null(argv);
        assert_int_equal(e.kind, ERR_INPUT);
        return NULL;
    }
    assert_int_equal(e.kind, ERR_NONE);
    for (char **p = argv; *p; p++) {
        if (p != argv)
            strcat(out, " ");
        strcat(out, *p);
    }
    argv_free(argv);
    return out;
}

static void refused(char *const *command, const char *why)
{
    const char *got = words(command);

    if (got)
        fail_msg("taken as %s, though %s", got, why);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say %s", e.text, why);
}

static void manifest_refused(const char *text, const char *why)
{
    put_manifest(text);
    refused(NULL, why);
}

/* --- which program --- */

static void the_entry_point_is_a_file_of_the_bundle(void **arg)
{
    (void)arg;
    make_dir("bin");
    put("bin/prog", 0755, "#!/bin/sh\n");
    put("bin/other", 0755, "#!/bin/sh\n");
    put_manifest("{\"entrypoint\":[\"bin/prog\",\"--flag\",\"\"]}");
    assert_string_equal(words(NULL), SEEN_AT "/bin/prog --flag ");
    put_manifest("{\"entrypoint\":[\"./././bin/prog\"]}");
    assert_string_equal(words(NULL), SEEN_AT "/bin/prog");
}

static void a_bare_name_is_the_bundles_own_or_left_to_path(void **arg)
{
    (void)arg;
    put_manifest("{\"entrypoint\":[\"python3\",\"main.py\"]}");
    assert_string_equal(words(NULL), "python3 main.py");
    put("python3", 0755, "#!/bin/sh\n");
    assert_string_equal(words(NULL), SEEN_AT "/python3 main.py");
    put("python3", 0644, "#!/bin/sh\n");
    refused(NULL, "not executable");
}

static void a_command_overrides_the_manifest(void **arg)
{
    char *command[] = {(char *)"bin/other", (char *)"x", NULL};
    char *bare[] = {(char *)"sh", NULL};

    (void)arg;
    make_dir("bin");
    put("bin/prog", 0755, "#!/bin/sh\n");
    put("bin/other", 0755, "#!/bin/sh\n");
    put_manifest("{\"entrypoint\":[\"bin/prog\"]}");
    assert_string_equal(words(command), SEEN_AT "/bin/other x");
    assert_string_equal(words(bare), "sh");
    /* but a manifest its author got wrong is told to him */
    put_manifest("{\"entrypoint\":\"bin/prog\"}");
    refused(command, "entrypoint");
}

static void the_only_executable_below_bin_is_found(void **arg)
{
    (void)arg;
    refused(NULL, "no executable file below bin/");
    make_dir("bin");
    refused(NULL, "no executable file below bin/");
    make_dir("bin/deep");
    put("bin/README", 0644, "");
    refused(NULL, "bin/README may not be executed");
    put("bin/deep/prog", 0755, "#!/bin/sh\n");
    put("prog", 0755, "#!/bin/sh\n"); /* not below bin/ */
    assert_int_equal(symlinkat("deep/prog", root_fd, "bin/link"), 0);
    assert_string_equal(words(NULL), SEEN_AT "/bin/deep/prog");
    put_manifest("{}");
    assert_string_equal(words(NULL), SEEN_AT "/bin/deep/prog");
}

static void several_executables_are_refused_with_their_list(void **arg)
{
    (void)arg;
    make_dir("bin");
    put("bin/one", 0755, "");
    put("bin/two", 0755, "");
    refused(NULL, "2 executable files");
    refused(NULL, "bin/one");
    refused(NULL, "bin/two");
    refused(NULL, "name one in " MANIFEST_FILE);
}

static void a_long_list_leaves_the_sentence_whole(void **arg)
{
    char name[300];

    (void)arg;
    make_dir("bin");
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "bin/a-program-of-some-name-%d", i);
        put(name, 0755, "");
    }
    refused(NULL, "40 executable files");
    refused(NULL, ", ...); name one in " MANIFEST_FILE);
    /* and the end's detail holds all of it */
    assert_true(strlen(e.text) < sizeof(((struct state_head *)0)->detail));
}

static void one_long_name_leaves_the_sentence_whole(void **arg)
{
    char name[300] = "bin/";

    (void)arg;
    make_dir("bin");
    memset(name + 4, 'x', 200);
    put(name, 0755, "");
    name[4] = 'y';
    put(name, 0755, "");
    refused(NULL, "2 executable files (...); name one in " MANIFEST_FILE);
}

static void a_deep_tree_is_searched_to_a_depth(void **arg)
{
    char path[256] = "bin";

    (void)arg;
    make_dir(path);
    for (int i = 0; i < 30; i++) {
        strcat(path, "/d");
        make_dir(path);
    }
    strcat(path, "/prog");
    put(path, 0755, "");
    refused(NULL, "no executable file");
    put("bin/d/d/prog", 0755, "");
    assert_string_equal(words(NULL), SEEN_AT "/bin/d/d/prog");
}

/* --- what is no entry point --- */

static void an_entry_point_that_is_not_there_is_named(void **arg)
{
    (void)arg;
    manifest_refused("{\"entrypoint\":[\"bin/gone\"]}", "\"bin/gone\"");
    make_dir("bin");
    make_dir("bin/dir");
    put("bin/plain", 0644, "");
    manifest_refused("{\"entrypoint\":[\"bin/gone\"]}", "not in the bundle");
    manifest_refused("{\"entrypoint\":[\"bin/dir\"]}", "is no file");
    manifest_refused("{\"entrypoint\":[\"bin/plain\"]}", "not executable");
    manifest_refused("{\"entrypoint\":[\"bin/plain/x\"]}", "not in");
    manifest_refused("{\"entrypoint\":[\".\"]}", "is no file");
    manifest_refused("{\"entrypoint\":[\"./\"]}", "not in the bundle");
}

static void no_entry_point_is_outside_the_tree(void **arg)
{
    static const char *const paths[] = {
        "../out", "..",       "bin/../../out", "./../out",      "out-link",
        "up/out", "abs-link", "proc-link",     "bin/../up/out", "loop"};
    own_mem char *out = mem_printf("%s/out", dir);

    (void)arg;
    make_dir("bin");
    close(open(out, O_WRONLY | O_CREAT, 0755)); /* beside the root */
    assert_int_equal(symlinkat("../out", root_fd, "out-link"), 0);
    assert_int_equal(symlinkat("..", root_fd, "up"), 0);
    assert_int_equal(symlinkat("/bin/sh", root_fd, "abs-link"), 0);
    assert_int_equal(symlinkat("/proc/self/exe", root_fd, "proc-link"), 0);
    assert_int_equal(symlinkat("loop", root_fd, "loop"), 0);
    for (size_t i = 0; i < COUNT(paths); i++) {
        own_mem char *text = mem_printf("{\"entrypoint\":[\"%s\"]}", paths[i]);
        char *command[] = {(char *)paths[i], NULL};

        manifest_refused(text, "not in the bundle");
        refused(command, "not in the bundle");
    }
    manifest_refused("{\"entrypoint\":[\"/bin/sh\"]}", "relative");
    manifest_refused("{\"entrypoint\":[\"/\"]}", "relative");
    /* a link that stays inside is fine */
    put("bin/prog", 0755, "");
    assert_int_equal(symlinkat("bin/prog", root_fd, "run"), 0);
    put_manifest("{\"entrypoint\":[\"./run\"]}");
    assert_string_equal(words(NULL), SEEN_AT "/run");
}

static void a_bin_that_leads_outside_is_not_searched(void **arg)
{
    own_mem char *out = mem_printf("%s/out", dir);
    own_mem char *prog = mem_printf("%s/out/prog", dir);

    (void)arg;
    assert_int_equal(mkdir(out, 0755), 0);
    close(open(prog, O_WRONLY | O_CREAT, 0755));
    assert_int_equal(symlinkat("../out", root_fd, "bin"), 0);
    refused(NULL, "no executable file");
}

/* --- podterm.json itself --- */

static void a_malformed_manifest_is_refused(void **arg)
{
    static const char *const texts[] = {
        "",
        "{",
        "null",
        "[]",
        "\"bin/x\"",
        "{\"entrypoint\":null}",
        "{\"entrypoint\":[]}",
        "{\"entrypoint\":\"bin/x\"}",
        "{\"entrypoint\":{}}",
        "{\"entrypoint\":[7]}",
        "{\"entrypoint\":[\"\"]}",
        "{\"entrypoint\":[\"x\",null]}",
        "{\"entrypoint\":[\"x\"],\"entrypoint\":[\"y\"]}",
        "{\"entrypoint\":[\"x\"],\"newer\":1}",
        "{\"entrypoint\":[\"x\"]}}",
        "\xef\xbb\xbf{}",
        "{\"entrypoint\":[\"x\\u0000y\"]}",
        "{\"entrypoint\":[\"\xff\"]}"};

    (void)arg;
    for (size_t i = 0; i < COUNT(texts); i++)
        manifest_refused(texts[i], MANIFEST_FILE);
}

static void the_manifests_limits_hold(void **arg)
{
    own_mem char *text = mem_zero(MANIFEST_BYTES_MAX + 2, 1);
    struct buf b;

    (void)arg;
    memset(text, ' ', MANIFEST_BYTES_MAX + 1);
    memcpy(text, "{\"entrypoint\":[\"sh\"]}", 21);
    manifest_refused(text, "at most 65536 bytes");
    text[MANIFEST_BYTES_MAX] = 0;
    put_manifest(text);
    assert_string_equal(words(NULL), "sh");

    for (int more = 0; more < 2; more++) {
        buf_init(&b, 8192);
        buf_append_str(&b, "{\"entrypoint\":[\"sh\"");
        for (int i = 1; i < MANIFEST_ARGS_MAX + more; i++)
            buf_append_str(&b, ",\"a\"");
        buf_append_str(&b, "]}");
        put_manifest(buf_cstr(&b));
        if (more)
            refused(NULL, "1 to 256 strings");
        else
            assert_non_null(words(NULL));
        buf_fini(&b);
    }
}

static void a_manifest_that_is_no_file_is_refused(void **arg)
{
    own_mem char *out = mem_printf("%s/out.json", dir);

    (void)arg;
    make_dir(MANIFEST_FILE);
    refused(NULL, MANIFEST_FILE);
    assert_int_equal(unlinkat(root_fd, MANIFEST_FILE, AT_REMOVEDIR), 0);
    close(open(out, O_WRONLY | O_CREAT, 0644));
    assert_int_equal(symlinkat("../out.json", root_fd, MANIFEST_FILE), 0);
    refused(NULL, "not a link");
    /* nor one that stays inside */
    assert_int_equal(unlinkat(root_fd, MANIFEST_FILE, 0), 0);
    put_manifest("{\"entrypoint\":[\"bin/prog\"]}");
    make_dir("bin");
    put("bin/prog", 0755, "x");
    assert_int_equal(renameat(root_fd, MANIFEST_FILE, root_fd, "inside.json"),
                     0);
    assert_int_equal(symlinkat("inside.json", root_fd, MANIFEST_FILE), 0);
    refused(NULL, "not a link");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_entry_point_is_a_file_of_the_bundle),
        T(a_bare_name_is_the_bundles_own_or_left_to_path),
        T(a_command_overrides_the_manifest),
        T(the_only_executable_below_bin_is_found),
        T(several_executables_are_refused_with_their_list),
        T(a_long_list_leaves_the_sentence_whole),
        T(one_long_name_leaves_the_sentence_whole),
        T(a_deep_tree_is_searched_to_a_depth),
        T(an_entry_point_that_is_not_there_is_named),
        T(no_entry_point_is_outside_the_tree),
        T(a_bin_that_leads_outside_is_not_searched),
        T(a_malformed_manifest_is_refused),
        T(the_manifests_limits_hold),
        T(a_manifest_that_is_no_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
