/*
 * A certificate and its key replaced under a server, in every order and
 * manner: the new pair is taken up as soon as both are there, and what was
 * loaded before serves until then.
 */
#include "base/mem.h"
#include "base/own.h"
#include "base/tls.h"
#include "base/tls_files.h"
#include "tests/lib/certs.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct tls_files files;
static struct ssl_ctx_st *ctx; /* as a server would use it */
static struct err e;
static char *dir, *cert, *key;
static int tries, told;

/* One half of a pair: ".pem" or ".key". */
static char *half(const char *pair, const char *end)
{
    return mem_printf("%s/%s%s", dir, pair, end);
}

/* Ways to put a file in another's place. */

static void written_over(const char *from, const char *to)
{
    size_t len;
    own_mem char *text = tree_get(from, &len);
    own_fd int fd = open(to, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, len), len);
}

static void renamed(const char *from, const char *to)
{
    own_mem char *copy = mem_printf("%s.new", to);

    written_over(from, copy);
    assert_int_equal(rename(copy, to), 0);
}

/* The file keeps the time at which it was written: older than the one whose
 * place it takes. */
static void renamed_with_its_age(const char *from, const char *to)
{
    own_mem char *copy = mem_printf("%s.new", to);
    const struct timespec age[] = {{1000, 0}, {1000, 0}};

    written_over(from, copy);
    assert_int_equal(utimensat(AT_FDCWD, copy, age, 0), 0);
    assert_int_equal(rename(copy, to), 0);
}

/* As Kubernetes renews a secret's files: what they point to changes. */
static void linked(const char *from, const char *to)
{
    own_mem char *link = mem_printf("%s.new", to);

    assert_int_equal(symlink(from, link), 0);
    assert_int_equal(rename(link, to), 0);
}

typedef void put_fn(const char *from, const char *to);

static put_fn *const ways[] = {written_over, renamed, renamed_with_its_age,
                               linked};
#define WAYS (sizeof(ways) / sizeof(*ways))

static void put(put_fn *way, const char *pair, const char *end)
{
    own_mem char *from = half(pair, end);

    way(from, strcmp(end, ".pem") == 0 ? cert : key);
}

static int setup_all(void **state)
{
    (void)state;
    dir = scratch_new();
    certs_make(dir, "one", "DNS:one");
    certs_make(dir, "two", "DNS:two");
    cert = half("live", ".pem");
    key = half("live", ".key");
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    free(cert);
    free(key);
    scratch_remove(dir);
    return 0;
}

/* A server of that pair that has just started. */
static void start(const char *pair)
{
    unlink(cert); /* may be a link */
    unlink(key);
    put(written_over, pair, ".pem");
    put(written_over, pair, ".key");
    tls_files_init(&files, cert, key);
    tls_ctx_free(ctx);
    ctx = tls_server_ctx(cert, key, &e);
    assert_non_null(ctx);
    tries = told = 0;
}

static int stop(void **state)
{
    (void)state;
    tls_ctx_free(ctx);
    ctx = NULL;
    return 0;
}

/* What controller and gateway do now and then. */
static void look(void)
{
    if (!tls_files_look(&files))
        return;
    tries++;
    if (tls_server_setup(ctx, cert, key, &e) < 0)
        told += tls_files_failed(&files);
}

static void expect_served(const char *pair)
{
    assert_int_equal(
        X509_check_host(SSL_CTX_get0_certificate(ctx), pair, 0, 0, NULL), 1);
    assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
}

static void replace(put_fn *way, const char *first, const char *second)
{
    start("one");
    put(way, "two", first);
    for (int i = 0; i < 3; i++)
        look();
    expect_served("one");
    assert_int_equal(tries, 3); /* at every look */
    assert_int_equal(told, 1);  /* and said once */
    put(way, "two", second);
    look();
    expect_served("two");
    for (int i = 0; i < 3; i++)
        look();
    assert_int_equal(tries, 4); /* nothing to do any more */
    assert_int_equal(told, 1);
}

static void a_certificate_before_its_key_waits_for_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++)
        replace(ways[i], ".pem", ".key");
}

static void a_key_before_its_certificate_waits_for_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++)
        replace(ways[i], ".key", ".pem");
}

static void both_between_two_looks_are_one_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        start("one");
        look();
        assert_int_equal(tries, 0);
        put(ways[i], "two", ".pem");
        put(ways[i], "two", ".key");
        look();
        expect_served("two");
        assert_int_equal(tries, 1);
    }
}

static void what_is_missing_or_half_written_is_waited_for(void **state)
{
    (void)state;
    start("one");
    unlink(cert);
    look();
    look();
    assert_int_equal(told, 1);
    assert_non_null(strstr(e.text, cert));
    tree_put(dir, "live.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    look();
    look();
    assert_int_equal(told, 2); /* another thing is wrong now */
    expect_served("one");
    put(written_over, "two", ".pem");
    look();
    put(written_over, "two", ".key");
    look();
    expect_served("two");
}

static void what_was_wrong_outside_the_files_is_tried_again(void **state)
{
    (void)state;
    start("one");
    put(renamed, "two", ".pem");
    put(renamed, "two", ".key");
    assert_true(tls_files_look(&files));
    /* whoever loads may fail though the files are right */
    assert_true(tls_files_failed(&files));
    look();
    expect_served("two");
    assert_int_equal(tries, 1);
}

static void who_asks_is_heard_and_told(void **state)
{
    (void)state;
    start("one");
    tls_files_ask(&files);
    look();
    assert_int_equal(tries, 1); /* nothing had changed */
    put(renamed, "two", ".key");
    look();
    look();
    assert_int_equal(told, 1);
    tls_files_ask(&files);
    look();
    assert_int_equal(told, 2); /* again */
    expect_served("one");
}

static void without_files_there_is_nothing_to_look_at(void **state)
{
    struct tls_files none;

    (void)state;
    tls_files_init(&none, NULL, NULL);
    tls_files_ask(&none);
    assert_false(tls_files_look(&none));
}

#define T(f) cmocka_unit_test_setup_teardown(f, NULL, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_certificate_before_its_key_waits_for_it),
        T(a_key_before_its_certificate_waits_for_it),
        T(both_between_two_looks_are_one_change),
        T(what_is_missing_or_half_written_is_waited_for),
        T(what_was_wrong_outside_the_files_is_tried_again),
        T(who_asks_is_heard_and_told),
        T(without_files_there_is_nothing_to_look_at),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
