/* A bundle of this machine: what is taken for one, and how it is lent. */
#include "client/archive.h"
#include "client/lend.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define GZIP "\x1f\x8b"
#define LARGE (3 << 20) /* more than a socket holds */

static char *dir;

static int setup(void **state)
{
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static char *put(const char *name, const void *bytes, size_t len)
{
    char *path = mem_printf("%s/%s", dir, name);
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    return path;
}

static void a_name_says_what_it_is(void **state)
{
    static const char *const yes[] = {"x.tar.gz", "./x.tgz",    "/a/b.tar.xz",
                                      "x.txz",    "x.tar.zst",  "x.tzst",
                                      "x.tar",    "../y/z.zip", "x.tar.bz2"};
    static const char *const no[] = {"sh",     "./sh",
                                     ".zip",   "tar.gz.sh",
                                     "x.gz",   "https://h/x.tar.gz",
                                     "x.tar/", "file:///x.tar.gz"};

    (void)state;
    for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
        if (!archive_is_named(yes[i]))
            fail_msg("%s is none", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
        if (archive_is_named(no[i]))
            fail_msg("%s is one", no[i]);
}

static void each_kind_is_known_by_its_first_bytes(void **state)
{
    char tar[512] = "";
    const struct {
        const char *bytes;
        size_t len;
    } kinds[] = {{GZIP "x", 3},
                 {"\xfd"
                  "7zXZ\0",
                  6},
                 {"\x28\xb5\x2f\xfd", 4},
                 {"PK\x03\x04", 4},
                 {tar, sizeof(tar)}};
    struct archive a;
    struct err e = {0};

    (void)state;
    memcpy(tar + 257, "ustar", 5);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        own_mem char *path = put("x", kinds[i].bytes, kinds[i].len);

        if (archive_open(&a, path, &e) < 0)
            fail_msg("%zu: %s", i, e.text);
        assert_int_equal(a.size, kinds[i].len);
        assert_string_equal(a.name, "x");
        archive_fini(&a);
    }
}

static void its_digest_is_that_of_all_of_it(void **state)
{
    own_mem char *bytes = mem_zero(LARGE + 7, 1);
    own_mem char *path = NULL;
    uint8_t sum[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    struct archive a;
    struct err e = {0};

    (void)state;
    memcpy(bytes, GZIP, 2);
    bytes[LARGE + 6] = 1;
    path = put("large.tar.gz", bytes, LARGE + 7);
    sha256(bytes, LARGE + 7, sum);
    hex_encode(sum, sizeof(sum), hex);
    assert_int_equal(archive_open(&a, path, &e), 0);
    assert_string_equal(a.sha256, hex);
    assert_string_equal(a.name, "large.tar.gz");
    archive_fini(&a);
}

static void refused(const char *path, enum err_kind kind, const char *why)
{
    struct archive a;
    struct err e = {0};

    assert_int_equal(archive_open(&a, path, &e), -1);
    if (e.kind != kind || !strstr(e.text, why))
        fail_msg("%s: \"%s\" (%d), but not: %s", path, e.text, e.kind, why);
    assert_int_equal(a.fd, -1);
}

static void what_is_none_is_refused_with_what_to_do(void **state)
{
    own_mem char *absent = mem_printf("%s/absent.tar.gz", dir);
    own_mem char *fifo = mem_printf("%s/fifo.tar.gz", dir);
    own_mem char *text = put("text.tar.gz", "#!/bin/sh\n", 10);
    own_mem char *empty = put("empty.tar.gz", "", 0);
    own_mem char *bzip = put("x.tar.bz2", "BZh91AY", 7);
    own_mem char *cut = put("cut.tar",
                            "\xfd"
                            "7zX",
                            4);
    own_mem char *huge = put("huge.tar.gz", GZIP, 2);

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(truncate(huge, ARCHIVE_MAX + 1), 0);
    refused(absent, ERR_ABSENT, "there is no such file");
    refused(dir, ERR_INPUT, "tar -czf NAME.tar.gz -C");
    refused(fifo, ERR_INPUT, "not a file");
    refused(text, ERR_INPUT, "not an archive (tar.gz, tar.xz");
    refused(empty, ERR_INPUT, "it is empty");
    refused(bzip, ERR_INPUT, "pack it again");
    refused(cut, ERR_INPUT, "not an archive");
    refused(huge, ERR_INPUT, "no bundle has more than 68719476736");
}

/* --- lent --- */

/* What is answered to that, all of it; its length, body and all. */
static char *asked(const struct lend *l, const char *text, size_t *len)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 10};
    own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *out = mem_zero(LARGE + 4096, 1);
    ssize_t n;

    sa.sin_port = htons((uint16_t)atoi(l->url + strlen("http://127.0.0.1:")));
    *len = 0;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        free(out);
        return NULL;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    send(fd, text, strlen(text), MSG_NOSIGNAL);
    while ((n = recv(fd, out + *len, LARGE + 4095 - *len, 0)) > 0)
        *len += (size_t)n;
    return out;
}

static const char *path_of(const struct lend *l)
{
    return strchr(l->url + strlen("http://"), '/');
}

static void whoever_knows_the_path_gets_the_file_and_nobody_else(void **state)
{
    own_mem char *bytes = mem_zero(LARGE, 1);
    own_mem char *path = NULL, *good = NULL, *flood = NULL, *other = NULL;
    char *answer, *body;
    struct archive a;
    struct lend l = {0};
    struct err e = {0};
    size_t len;

    (void)state;
    memcpy(bytes, GZIP, 2);
    for (size_t i = 2; i < LARGE; i++)
        bytes[i] = (char)(i * 31);
    path = put("my bundle.tar.gz", bytes, LARGE);
    assert_int_equal(archive_open(&a, path, &e), 0);
    assert_int_equal(lend_start(&l, &a, &e), 0);
    assert_int_equal(strlen(path_of(&l)),
                     strlen("/my%20bundle.tar.gz") + 1 + 32);
    assert_non_null(strstr(l.url, "/my%20bundle.tar.gz"));
    good = mem_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path_of(&l));

    for (int i = 0; i < 2; i++) { /* a fetch may be tried again */
        answer = asked(&l, good, &len);
        assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
        body = strstr(answer, "\r\n\r\n") + 4;
        assert_int_equal(len - (size_t)(body - answer), LARGE);
        assert_memory_equal(body, bytes, LARGE);
        free(answer);
    }
    other = mem_str(good);
    other[6] = other[6] == '0' ? '1' : '0';
    flood = mem_zero(LEND_HEAD_MAX * 2, 1);
    memset(flood, 'x', LEND_HEAD_MAX * 2 - 1);
    {
        const char *const bad[] = {other, "GET / HTTP/1.1\r\n\r\n",
                                   "GET /../x HTTP/1.0\r\n\r\n", "\r\n\r\n",
                                   "POST x\r\n\r\n"};

        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
            answer = asked(&l, bad[i], &len);
            assert_int_equal(strncmp(answer, "HTTP/1.1 404 ", 13), 0);
            assert_null(strstr(answer, GZIP));
            free(answer);
        }
    }
    answer = asked(&l, flood, &len); /* it ends, and others are served */
    assert_int_equal(len, 0);
    free(answer);
    answer = asked(&l, good, &len);
    assert_true(len > LARGE);
    free(answer);

    lend_stop(&l);
    assert_null(asked(&l, good, &len));
    lend_stop(&l);
    archive_fini(&a);
}

/* However its owner goes, it goes. */
static void it_ends_with_whoever_lends(void **state)
{
    own_mem char *path = put("x.tar.gz", GZIP, 2);
    struct archive a;
    struct lend l = {0};
    struct err e = {0};
    size_t len = 0;
    int ends[2], tries = 0;
    char *answer;
    pid_t pid;

    (void)state;
    assert_int_equal(archive_open(&a, path, &e), 0);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        lend_start(&l, &a, &e);
        if (write(ends[1], &l, sizeof(l)) != sizeof(l))
            _exit(1);
        pause();
    }
    assert_int_equal(read(ends[0], &l, sizeof(l)), sizeof(l));
    answer = asked(&l, "GET / HTTP/1.1\r\n\r\n", &len);
    assert_true(len > 0);
    free(answer);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while ((answer = asked(&l, "GET / HTTP/1.1\r\n\r\n", &len)) != NULL) {
        free(answer);
        assert_true(++tries < 500);
        usleep(10000);
    }
    archive_fini(&a);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_says_what_it_is),
        cmocka_unit_test(each_kind_is_known_by_its_first_bytes),
        cmocka_unit_test(its_digest_is_that_of_all_of_it),
        cmocka_unit_test(what_is_none_is_refused_with_what_to_do),
        cmocka_unit_test(whoever_knows_the_path_gets_the_file_and_nobody_else),
        cmocka_unit_test(it_ends_with_whoever_lends),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
