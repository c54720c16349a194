/* The page's directory: what is taken from it, and what is refused with a
 * word on what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller/webdir.h"
#include "tests/lib/tree.h"
#include "tests/lib/webtree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct webdir *w;
static struct err e;
static struct webdir_limits limits;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/podterm-webdir.XXXXXX");
    assert_non_null(mkdtemp(dir));
    memset(&e, 0, sizeof e);
    limits = (struct webdir_limits){.files = 20, .bytes = 4096, .name = 64};
    return 0;
}

static int teardown(void **state)
{
    char line[128];

    (void)state;
    webdir_free(w);
    w = NULL;
    snprintf(line, sizeof line, "rm -rf %s", dir);
    return system(line);
}

static void load(void)
{
    w = webdir_load(dir, &limits, &e);
    if (!w)
        fail_msg("%s", e.text);
}

static void assert_refused(const char *with, const char *what_to_do)
{
    w = webdir_load(dir, &limits, &e);
    assert_null(w);
    assert_int_equal(e.kind, ERR_INPUT);
    if (!strstr(e.text, with) || !strstr(e.text, what_to_do) ||
        !strstr(e.text, "--web-dir") || !strstr(e.text, dir))
        fail_msg("%s", e.text);
    memset(&e, 0, sizeof e);
}

static void path_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", dir, name);
}

static const struct webdir_file *found(const char *path)
{
    const struct webdir_file *f = webdir_find(w, path);

    if (!f)
        fail_msg("%s", path);
    return f;
}

static void files_come_with_their_copies(void **state)
{
    const struct webdir_file *f;
    size_t gz_len;
    uint8_t *gz = webtree_gzip(WEBTREE_INDEX, strlen(WEBTREE_INDEX), &gz_len);

    (void)state;
    webtree_make(dir, 320);
    tree_put(dir, "plain.txt", "");
    load();
    assert_int_equal(webdir_count(w), 3);
    f = found("/");
    assert_ptr_equal(f, found("/index.html"));
    assert_string_equal(f->type, "text/html; charset=utf-8");
    assert_false(f->is_lasting);
    assert_int_equal(f->copies[CODING_IDENTITY].len, strlen(WEBTREE_INDEX));
    assert_memory_equal(f->copies[CODING_IDENTITY].bytes, WEBTREE_INDEX,
                        strlen(WEBTREE_INDEX));
    assert_int_equal(f->copies[CODING_BR].len, strlen(WEBTREE_BR));
    assert_int_equal(f->copies[CODING_GZIP].len, gz_len);
    assert_memory_equal(f->copies[CODING_GZIP].bytes, gz, gz_len);
    free(gz);
    f = found(WEBTREE_SCRIPT);
    assert_string_equal(f->type, "text/javascript; charset=utf-8");
    assert_true(f->is_lasting);
    assert_int_equal(f->copies[CODING_IDENTITY].len, 320);
    assert_string_equal(f->copies[CODING_BR].etag, "");
    f = found("/plain.txt");
    assert_int_equal(f->copies[CODING_IDENTITY].len, 0);
    assert_string_not_equal(f->copies[CODING_IDENTITY].etag, "");
    assert_string_equal(f->copies[CODING_GZIP].etag, "");
}

static void only_exact_paths_are_found(void **state)
{
    static const char *const none[] = {
        "",
        "index.html",
        "/index.html/",
        "/Index.html",
        "/index.htm",
        "/index.html.gz",
        "/index.html.br",
        "//",
        "//index.html",
        "/./index.html",
        "/assets",
        "/assets/",
        "/assets/../index.html",
        "/assets/page-0A1B2C3D.js ",
        "/%69ndex.html",
        "/etc/passwd",
    };

    (void)state;
    webtree_make(dir, 320);
    load();
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (webdir_find(w, none[i]))
            fail_msg("%s", none[i]);
}

/* Of each copy's bytes, known beforehand: sha256sum | cut -c1-32 */
static void tags_are_of_the_bytes_sent(void **state)
{
    const struct webdir_file *f;

    (void)state;
    tree_put(dir, "index.html", "abc");
    tree_put(dir, "index.html.br", "abd");
    tree_put(dir, "same.txt", "abc");
    load();
    f = found("/");
    assert_string_equal(f->copies[CODING_IDENTITY].etag,
                        "\"ba7816bf8f01cfea414140de5dae2223\"");
    assert_string_equal(f->copies[CODING_BR].etag,
                        "\"a52d159f262b2c6ddb724a61840befc3\"");
    assert_string_equal(found("/same.txt")->copies[CODING_IDENTITY].etag,
                        f->copies[CODING_IDENTITY].etag);
}

static void a_hash_in_an_assets_name_makes_it_lasting(void **state)
{
    static const struct {
        const char *path;
        bool is_lasting;
    } cases[] = {
        {"assets/a-ABCDEFG2.js", true},
        {"assets/sub/a-b-ABCDEFG2.css", true},
        {"assets/a-0123abcd.svg", true},
        {"assets/a-0123ABCD.svg", true},
        {"assets/a-ABCDEFG2.js.map", true},
        {"assets/a-settings.js", false},
        {"assets/a-ABCDEFG.js", false},
        {"assets/a-ABCDEFG9.js", false},
        {"assets/a-ABCDEFG2-b.js", false},
        {"assets/ABCDEFG2.js", false},
        {"assets/a-ABCDEFG2/b.js", false},
        {"other/a-ABCDEFG2.js", false},
        {"a-ABCDEFG2.js", false},
    };
    char path[96];

    (void)state;
    tree_put(dir, "index.html", "x");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tree_put(dir, cases[i].path, "x");
    load();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "/%s", cases[i].path);
        if (found(path)->is_lasting != cases[i].is_lasting)
            fail_msg("%s", path);
    }
}

static void each_kind_has_its_type(void **state)
{
    static const char *const kinds[][2] = {
        {"/a.mjs", "text/javascript; charset=utf-8"},
        {"/a.css", "text/css; charset=utf-8"},
        {"/a.json", "application/json"},
        {"/a.js.map", "application/json"},
        {"/a.webmanifest", "application/manifest+json"},
        {"/a.svg", "image/svg+xml"},
        {"/a.png", "image/png"},
        {"/a.ico", "image/x-icon"},
        {"/a.woff2", "font/woff2"},
        {"/a.wasm", "application/wasm"},
        {"/a.txt", "text/plain; charset=utf-8"},
    };

    (void)state;
    tree_put(dir, "index.html", "x");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        tree_put(dir, kinds[i][0] + 1, "x");
    load();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_string_equal(found(kinds[i][0])->type, kinds[i][1]);
}

static void links_and_what_is_no_file_are_refused(void **state)
{
    char path[256];

    (void)state;
    tree_put(dir, "index.html", "x");
    path_of("a.js", path);
    assert_int_equal(symlink("index.html", path), 0);
    assert_refused("a.js", "is a link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_refused("a.js", "is a link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused("a.js", "take it away");
    assert_int_equal(unlink(path), 0);
    path_of("sub", path);
    assert_int_equal(symlink("/etc", path), 0);
    assert_refused("sub", "is a link");
}

static void odd_names_are_refused(void **state)
{
    static const char *const names[] = {
        ".htaccess", "a b.js", "a%20b.js", "a\nb.js",  "\xc3\xa9.js",
        "a?.js",     "..a.js", "a\\b.js",  ".git/a.js"};
    char path[256];

    (void)state;
    tree_put(dir, "index.html", "x");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tree_put(dir, names[i], "x");
        assert_refused("odd name", "letters");
        path_of(names[i], path);
        assert_int_equal(unlink(path), 0);
        if (strchr(names[i], '/')) {
            *strrchr(path, '/') = '\0';
            assert_int_equal(rmdir(path), 0);
        }
    }
    load();
}

static void kinds_that_are_not_known_are_refused(void **state)
{
    static const char *const names[] = {"a.php", "a", "a.", "a.HTML", "a.js~"};
    char path[256];

    (void)state;
    tree_put(dir, "index.html", "x");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tree_put(dir, names[i], "x");
        w = webdir_load(dir, &limits, &e);
        assert_null(w);
        assert_non_null(strstr(e.text, names[i]));
        path_of(names[i], path);
        assert_int_equal(unlink(path), 0);
    }
}

static void what_everybody_may_write_is_refused(void **state)
{
    char path[256];

    (void)state;
    tree_put(dir, "assets/a.js", "x");
    tree_put(dir, "index.html", "x");
    path_of("assets/a.js", path);
    assert_int_equal(chmod(path, 0646), 0);
    assert_refused("assets/a.js", "chmod o-w");
    assert_int_equal(chmod(path, 0644), 0);
    path_of("assets", path);
    assert_int_equal(chmod(path, 0777), 0);
    assert_refused("assets", "chmod o-w");
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_refused("it may be written", "chmod o-w");
    assert_int_equal(chmod(dir, 0755), 0);
    load();
}

static void copies_must_be_of_the_file_beside_them(void **state)
{
    size_t len;
    uint8_t *other = webtree_gzip("abcd", 4, &len);
    char path[256];

    (void)state;
    tree_put(dir, "index.html", "abc");
    tree_put_bytes(dir, "index.html.gz", other, len);
    assert_refused("index.html.gz", "build the page again");
    tree_put(dir, "index.html.gz", "no gzip but long enough");
    assert_refused("index.html.gz", "build the page again");
    tree_put_bytes(dir, "index.html.gz", other, 10);
    assert_refused("index.html.gz", "build the page again");
    webtree_put(dir, "index.html", "abc", 3);
    tree_put(dir, "index.html.br", "");
    assert_refused("index.html.br", "build the page again");
    tree_put(dir, "index.html.br", "x");
    tree_put(dir, "gone.js.br", "x");
    assert_refused("gone.js.br", "build the page again");
    path_of("gone.js.br", path);
    assert_int_equal(unlink(path), 0);
    tree_put(dir, "index.html.gz.br", "x");
    assert_refused("index.html.gz.br", "build the page again");
    path_of("index.html.gz.br", path);
    assert_int_equal(unlink(path), 0);
    load();
    free(other);
}

static void each_limit_holds_and_is_named(void **state)
{
    char name[80], text[4097];

    (void)state;
    memset(text, 'x', sizeof text);
    text[4096] = '\0';
    tree_put(dir, "index.html", text);
    load(); /* 4096 bytes of 4096 */
    assert_int_equal(webdir_bytes(w), 4096);
    webdir_free(w);
    tree_put(dir, "a.txt", "y");
    assert_refused("more than 4096 bytes", "--web-max-bytes");
    limits.bytes = 1 << 20;
    limits.files = 2;
    load();
    webdir_free(w);
    tree_put(dir, "a.txt.br", "y"); /* copies count */
    assert_refused("more than 2 files", "--web-max-files");
    limits.files = 20;
    limits.name = 20;
    memset(name, 'n', sizeof name);
    memcpy(name, "assets/", 7);
    strcpy(name + 16, ".css");
    tree_put(dir, name, "x");
    load(); /* 20 bytes of 20 */
    webdir_free(w);
    limits.name = 19;
    assert_refused("too long a name", "--web-max-name");
}

static void depth_has_its_limit(void **state)
{
    (void)state;
    limits.files = 100;
    tree_put(dir, "index.html", "x");
    tree_put(dir, "1/2/3/4/5/6/7/a.js", "x");
    load();
    assert_non_null(webdir_find(w, "/1/2/3/4/5/6/7/a.js"));
    webdir_free(w);
    tree_put(dir, "1/2/3/4/5/6/7/8/a.js", "x");
    assert_refused("1/2/3/4/5/6/7/8", "at most 8");
}

static void a_directory_that_is_no_page_is_refused(void **state)
{
    char path[256];

    (void)state;
    assert_refused("there is no index.html", "make web");
    tree_put(dir, "a.txt", "x");
    assert_refused("there is no index.html", "make web");
    path_of("a.txt", path);
    w = webdir_load(path, &limits, &e);
    assert_null(w);
    assert_non_null(strstr(e.text, "Not a directory"));
    path_of("missing", path);
    w = webdir_load(path, &limits, &e);
    assert_null(w);
    assert_non_null(strstr(e.text, "No such file"));
    assert_non_null(strstr(e.text, "make web"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_come_with_their_copies),
        TEST(only_exact_paths_are_found),
        TEST(tags_are_of_the_bytes_sent),
        TEST(a_hash_in_an_assets_name_makes_it_lasting),
        TEST(each_kind_has_its_type),
        TEST(links_and_what_is_no_file_are_refused),
        TEST(odd_names_are_refused),
        TEST(kinds_that_are_not_known_are_refused),
        TEST(what_everybody_may_write_is_refused),
        TEST(copies_must_be_of_the_file_beside_them),
        TEST(each_limit_holds_and_is_named),
        TEST(depth_has_its_limit),
        TEST(a_directory_that_is_no_page_is_refused),
    };

    umask(022);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
