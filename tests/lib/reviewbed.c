#include "tests/lib/reviewbed.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/child.h"
#include "tests/lib/programs.h"
#include "tests/lib/tree.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define PIECE_US 200 /* a moment */

struct reviewbed reviewbed;
static int listen_fd;
static atomic_bool is_over;

/* --- a server: each connection gets the next of its answers --- */

/* The head, and as much body as it says. */
static void serve_take(int fd)
{
    size_t have = 0;
    const char *body = NULL;

    reviewbed.request[0] = 0;
    while (!body ||
           strlen(body) <
               strtoul(strcasestr(reviewbed.request, "Content-Length:") + 15,
                       NULL, 10)) {
        ssize_t n = read(fd, reviewbed.request + have,
                         sizeof(reviewbed.request) - 1 - have);

        if (n <= 0)
            break;
        reviewbed.request[have += (size_t)n] = 0;
        body = strstr(reviewbed.request, "\r\n\r\n");
        body = body ? body + 4 : NULL;
    }
}

/* Wait, but not beyond the end of the run, nor of the peer. */
static bool serve_wait(int fd, int ms)
{
    const int64_t until = loop_now_ms() + ms;
    struct pollfd p = {fd, POLLRDHUP, 0};

    while (!is_over && loop_now_ms() < until)
        if (poll(&p, 1, 20) > 0)
            return false;
    return !is_over;
}

static bool serve_say(int fd, const char *bytes, const struct answer *a)
{
    size_t len = strlen(bytes), step;

    for (size_t i = 0; i < len; i += step) {
        step = a->piece && a->piece < len - i ? a->piece : len - i;
        if (send(fd, bytes + i, step, MSG_NOSIGNAL) < 0)
            return false;
        if (a->piece_ms && !serve_wait(fd, a->piece_ms))
            return false;
        if (a->piece && !a->piece_ms)
            usleep(PIECE_US);
    }
    return true;
}

static void *serve(void *arg)
{
    (void)arg;
    for (int fd; (fd = accept(listen_fd, NULL, NULL)) >= 0; close(fd)) {
        const struct answer *a = &reviewbed.answers[reviewbed.answered];

        if (is_over) {
            close(fd);
            break;
        }
        reviewbed.answered++;
        serve_take(fd);
        if (a->bytes && !serve_say(fd, a->bytes, a))
            continue;
        while (a->again && !is_over && serve_say(fd, a->again, a))
            ;
        while (a->hangs && serve_wait(fd, 1000))
            ;
    }
    return NULL;
}

/* It waits for a connection: it gets one. */
static void serve_end(void)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    is_over = true;
    getsockname(listen_fd, (struct sockaddr *)&sa, &len);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
    close(fd);
}

int reviewbed_setup(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    reviewbed = (struct reviewbed){.dir = scratch_new()};
    reviewbed.tree = mem_printf("%s/tree", reviewbed.dir);
    reviewbed.exe = program_path("sample-cli");
    tree_put(reviewbed.dir, "tree/a.c", "int a; \n");
    tree_put(reviewbed.dir, "tree/.env", "PASSWORD=hunter2 \n");
    is_over = false;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(listen_fd, 8), 0);
    assert_int_equal(getsockname(listen_fd, (struct sockaddr *)&sa, &len), 0);
    *state = reviewbed.url = mem_printf(
        "ANTHROPIC_BASE_URL=http://127.0.0.1:%d", ntohs(sa.sin_port));
    return 0;
}

int reviewbed_teardown(void **state)
{
    (void)state;
    close(listen_fd);
    free(reviewbed.url);
    free(reviewbed.exe);
    free(reviewbed.tree);
    scratch_remove(reviewbed.dir);
    return 0;
}

char *reviewbed_run(const char *claude, const char *url, const char *option)
{
    own_mem char *path = mem_printf("PATH=%s/bin:/usr/bin:/bin", reviewbed.dir);
    const char *argv[] = {reviewbed.exe, "--plain", option ? option : "--plain",
                          reviewbed.tree, NULL};
    const char *env[] = {
        "LC_ALL=C.UTF-8", path, url ? url : "ANTHROPIC_BASE_URL=",
        url ? "ANTHROPIC_API_KEY=" REVIEWBED_KEY : "ANTHROPIC_API_KEY=", NULL};
    struct child c = {.argv = argv, .env = env};
    pthread_t thread = 0;
    char *out;

    if (claude) {
        own_mem char *file = mem_printf("%s/bin/claude", reviewbed.dir);

        tree_put(reviewbed.dir, "bin/claude", claude);
        assert_int_equal(chmod(file, 0755), 0);
    }
    is_over = false;
    if (url)
        assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    reviewbed.took_ms = loop_now_ms();
    child_expect(&c, 0); /* whatever becomes of the review */
    reviewbed.took_ms = loop_now_ms() - reviewbed.took_ms;
    assert_null(strstr(c.out, REVIEWBED_KEY));
    assert_null(strchr(c.out, '\033'));
    assert_string_equal(c.err, "");
    out = mem_str(c.out);
    child_fini(&c);
    if (thread) {
        serve_end();
        pthread_join(thread, NULL);
    }
    return out;
}

void reviewbed_has(const char *out, const char *want)
{
    if (!strstr(out, want))
        fail_msg("it lacks \"%s\":\n%s", want, out);
}
