/* The bundle: the same bytes whoever packs, whole in itself, and taken by
 * the agent's unpacker. Run from the project's root. */
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* What is packed is copied to $1, made to look old or young, and packed
 * there under another umask, locale and time zone: $2 program, $3 umask, $4
 * locale, $5 age, $6 zone. */
static const char pack_script[] =
    "set -e; mkdir -p \"$1/w\"\n"
    "cp -r \"$1/../source/.\" \"$1/w\"\n"
    "find \"$1/w\" -exec touch -d \"$5\" {} +\n"
    "umask $3; [ $3 = 000 ] || chmod -R go-rwx \"$1/w\"\n"
    "cd \"$1/w\"; export LC_ALL=$4 TZ=$6\n"
    "[ $3 = 000 ] || export TAR_OPTIONS=--mode=a+w\n"
    "sample-cli/pack \"$2\" out/b.tar.gz";

static char *dir, *exe;

static int pack(const char *where, const char *mask, const char *locale,
                const char *age, const char *zone)
{
    own_mem char *to = mem_printf("%s/%s", dir, where);
    const char *argv[] = {"bash", "-c",   pack_script, "pack", to,  exe,
                          mask,   locale, age,         zone,   NULL};
    struct child c = {.argv = argv};

    child_run(&c);
    if (c.code)
        print_message("%s%s", c.out, c.err);
    child_fini(&c);
    return c.code;
}

static int setup_all(void **state)
{
    char root[4096];
    own_mem char *rel = program_path("sample-cli"), *copy = NULL;

    (void)state;
    assert_non_null(getcwd(root, sizeof(root)));
    exe = rel[0] == '/' ? mem_str(rel) : mem_printf("%s/%s", root, rel);
    dir = scratch_new();
    copy = mem_printf("mkdir %s/source && cp -r sample-cli base LICENSE "
                      "README.md %s/source/",
                      dir, dir);
    assert_int_equal(system(copy), 0);
    return pack("one", "077", "C", "2001-02-03", "UTC") ||
           pack("two", "000", "C.UTF-8", "2020-02-03 12:34:56", "Asia/Tokyo");
}

static int teardown_all(void **state)
{
    (void)state;
    scratch_remove(dir);
    free(exe);
    return 0;
}

static char *packed(const char *where, const char *ending)
{
    return mem_printf("%s/%s/w/out/b.tar.gz%s", dir, where, ending);
}

/* A shell command with the bundle as $1 and the scratch directory as $2; what
 * it said, the caller's. */
static char *shell(const char *script)
{
    own_mem char *bundle = packed("one", "");
    const char *argv[] = {"bash", "-c", script, "sh", bundle, dir, NULL};
    struct child c = {.argv = argv};
    char *out;

    child_expect(&c, 0);
    out = mem_str(c.out);
    child_fini(&c);
    return out;
}

static void packing_twice_gives_the_same_bytes(void **state)
{
    own_mem char *a = packed("one", ""), *b = packed("two", "");
    own_mem char *x = NULL, *y = NULL;
    size_t x_len, y_len;
    struct stat st;

    (void)state;
    assert_int_equal(stat(a, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whatever the umask was */
    x = tree_get(a, &x_len);
    y = tree_get(b, &y_len);
    assert_true(x_len > 10000);
    assert_int_equal(x_len, y_len);
    assert_memory_equal(x, y, x_len);
}

static void its_digest_stands_beside_it(void **state)
{
    own_mem char *path = packed("one", ""), *note = packed("one", ".sha256");
    own_mem char *bytes = NULL, *text = NULL, *want = NULL;
    own_mem char *check = shell("cd \"${1%/*}\" && sha256sum -c b.*.sha256");
    uint8_t sum[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    size_t len;

    (void)state;
    bytes = tree_get(path, &len);
    sha256(bytes, len, sum);
    hex_encode(sum, sizeof(sum), hex);
    text = tree_get(note, &len);
    want = mem_printf("%s  b.tar.gz\n", hex);
    assert_string_equal(text, want);
    assert_string_equal(check, "b.tar.gz: OK\n");
}

static void every_entry_is_plain_and_nobodys(void **state)
{
    own_mem char *list = shell("tar --numeric-owner --full-time -tvzf \"$1\"");
    char *next = list, *line;
    int files = 0;

    (void)state;
    while ((line = strsep(&next, "\n")) && *line) {
        const char *name = strrchr(line, ' ') + 1;
        bool is_program =
            strncmp(name, "bin/s", 5) == 0 || strstr(name, "sample-cli/pack");
        const char *mode = name[strlen(name) - 1] == '/' ? "drwxr-xr-x"
                           : is_program                  ? "-rwxr-xr-x"
                                                         : "-rw-r--r--";

        if (strncmp(line, mode, 10) != 0 || !strstr(line, " 0/0 "))
            fail_msg("%s", line);
        if (!strstr(line, " 2026-01-01 00:00:00 "))
            fail_msg("%s", line);
        files++;
    }
    assert_true(files > 20);
}

static void the_names_are_the_expected_ones_in_order(void **state)
{
    own_mem char *top = shell("tar -tzf \"$1\" | grep -vE '^(lib|share/"
                              "(source|licenses))/.' | tr '\\n' ' '");
    own_mem char *sorted = shell("tar -tzf \"$1\" | LC_ALL=C sort -c; echo $?");
    own_mem char *inside =
        shell("tar -tzf \"$1\" share/source/sample-cli/main.c "
              "share/source/base/buf.c share/source/LICENSE "
              "share/licenses/podterm.txt lib/libcjson.so.1 | wc -l");

    (void)state;
    assert_string_equal(top, "bin/ bin/sample-cli lib/ podterm.json share/ "
                             "share/licenses/ share/source/ ");
    assert_string_equal(sorted, "0\n");
    assert_int_equal(atoi(inside), 5);
}

/* Every library that something in the bundle asks for is in it, or is a part
 * of libc, which the runner brings. */
static void it_carries_all_but_libc(void **state)
{
    own_mem char *left =
        shell("mkdir \"$2/tree\" && tar -xzf \"$1\" -C \"$2/tree\" && cd "
              "\"$2/tree\"\n"
              "for f in bin/* lib/*; do readelf -d $f; done |\n"
              "sed -n 's/.*(NEEDED).*\\[\\(.*\\)\\]/\\1/p' | sort -u |\n"
              "while read -r n; do [ -e lib/$n ] || echo $n; done |\n"
              "grep -vxE 'lib(c|m|pthread|dl|rt)\\.so\\.[0-9]+|"
              "ld-linux-x86-64\\.so\\.2' || true");
    own_mem char *found = shell("ldd \"$2/tree/bin/sample-cli\"");
    own_mem char *path =
        mem_printf("libcjson.so.1 => %s/tree/bin/../lib/", dir);

    (void)state;
    assert_string_equal(left, "");
    if (!strstr(found, path))
        fail_msg("not found in the bundle: %s", found);
}

/* Read-only, from nothing: no environment, another place, no argument. */
static void in_any_place_it_looks_over_its_own_sources(void **state)
{
    own_mem char *out =
        shell("rm -rf \"$2/moved\"; mkdir \"$2/moved\"; tar -xzf \"$1\" -C "
              "\"$2/moved\"; chmod -R a-w \"$2/moved\"; cd /; env -i "
              "\"$2/moved/bin/sample-cli\" --json; chmod -R u+w \"$2/moved\"");
    own_mem char *root = mem_printf("%s/moved/share/source", dir);
    own_json struct json *j = NULL;
    struct err e = {0};
    int64_t files = 0;
    bool is_complete = false;

    (void)state;
    j = json_parse(out, strlen(out), &e);
    if (!j)
        fail_msg("%s: %s", e.text, out);
    assert_string_equal(json_get_str(j, "root"), root);
    assert_int_equal(json_get_int(j, "files", &files), 0);
    assert_true(files > 20);
    assert_int_equal(json_get_bool(j, "is_complete", &is_complete), 0);
    assert_true(is_complete);
}

/* With the limits that the controller sets where nobody says otherwise. */
static void unpack(void)
{
    own_mem char *agent = program_path("podterm-agent");
    own_mem char *bundle = packed("one", "");
    const char *argv[] = {
        "bash",
        "-c",
        "mkdir \"$2/u\"; \"$3\" --unpack 100000 4294967296 200 40 1024 "
        "3<\"$1\" 4<\"$2/u\" 5>\"$2/said\" && cd \"$2/u\" && "
        "cmp podterm.json - <<<'{\"entrypoint\":[\"bin/sample-cli\"]}' && "
        "bin/sample-cli --strict --line-max 1000",
        "sh",
        bundle,
        dir,
        agent,
        NULL};
    struct child c = {.argv = argv};

    child_expect(&c, 0);
    assert_non_null(strstr(c.out, "nothing found in "));
    child_fini(&c);
}

static void the_agents_unpacker_takes_it(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* its shadow memory is more than the unpacker may have */
#endif
    unpack();
}

static void packing_without_its_sources_fails_and_leaves_nothing(void **state)
{
    const char *argv[] = {"bash",
                          "-c",
                          "mkdir -p \"$1/bad/sample-cli\" && cp "
                          "sample-cli/pack \"$1/bad/sample-cli/\" && cd "
                          "\"$1/bad\" && TMPDIR=$PWD sample-cli/pack \"$2\" "
                          "out/b.tar.gz; r=$?; ls -A . out; exit $r",
                          "sh",
                          dir,
                          exe,
                          NULL};
    struct child c = {.argv = argv};

    (void)state;
    child_run(&c);
    assert_true(c.code != 0);
    assert_string_equal(c.out, ".:\nout\nsample-cli\n\nout:\n");
    child_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_twice_gives_the_same_bytes),
        cmocka_unit_test(its_digest_stands_beside_it),
        cmocka_unit_test(every_entry_is_plain_and_nobodys),
        cmocka_unit_test(the_names_are_the_expected_ones_in_order),
        cmocka_unit_test(it_carries_all_but_libc),
        cmocka_unit_test(in_any_place_it_looks_over_its_own_sources),
        cmocka_unit_test(the_agents_unpacker_takes_it),
        cmocka_unit_test(packing_without_its_sources_fails_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
