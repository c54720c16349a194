/*
 * A disk that is full: no session is made, and why is said; one that runs
 * still ends in order.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/devrun.h"
#include "tests/lib/stack.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKENS 2000 /* more than what is left takes */

/* --- the disk --- */

/* A file below the state directory of a dev in a mount namespace of its own,
 * as others see it. */
static char *inside(const struct dev *d, const char *name)
{
    return mem_printf("/proc/%d/root%s/state/%s", (int)d->pid, dev_dir, name);
}

static void fill_disk(const struct dev *d, size_t leave_bytes)
{
    own_mem char *path = inside(d, "filler");
    own_mem char *state = inside(d, "");
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct statvfs st;
    size_t free_bytes;

    assert_true(fd >= 0);
    assert_int_equal(statvfs(state, &st), 0);
    free_bytes = (size_t)st.f_bavail * st.f_bsize;
    assert_true(free_bytes > leave_bytes);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes - leave_bytes)),
                     0);
}

static int session_directories(const struct dev *d)
{
    own_mem char *path = inside(d, "sessions");
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (int)st.st_nlink - 2;
}

static void no_session_directory(const struct dev *d)
{
    int64_t until = loop_now_ms() + 15000;

    while (session_directories(d) > 0 && loop_now_ms() < until)
        poll(NULL, 0, 5);
    assert_int_equal(session_directories(d), 0);
}

static struct rest_answer create(struct stack *s, const struct stack_bundle *b)
{
    own_mem char *id = stack_identity(s, "ann");
    own_mem char *head = mem_printf("%sContent-Type: application/json\r\n", id);
    own_mem char *body =
        mem_printf("{\"bundle\":{\"url\":\"%s\",\"sha256\":\"%s\"},"
                   "\"cols\":80,\"rows\":24}",
                   b->url, b->sha256);

    return rest_call(s->port, "POST", "/api/sessions", head, body);
}

/* Too little for a session and its end: refused at once, and why is said. */
static void is_not_created(struct stack *s, const struct dev *d,
                           const struct stack_bundle *b)
{
    struct rest_answer a = create(s, b);

    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "\"code\":\"unavailable\""));
    assert_non_null(strstr(a.body, "disk is full"));
    assert_null(strstr(a.body, dev_dir)); /* a path is nobody's business */
    rest_fini(&a);
    no_session_directory(d);
}

/* A token is spent by writing that down; each takes some of what little room
 * the store has left itself. */
static void attaching_says_so(struct stack *s, const char *sid)
{
    struct stack_link l = {0};

    for (int i = 0; i < TOKENS; i++) {
        own_mem char *token = stack_token(s, "ann", sid, "owner", NULL);

        assert_non_null(token);
        if (!stack_attach(s, &l, token, 0, 80, 24))
            break;
        stack_cut(&l);
    }
    assert_string_equal(l.error, "unavailable");
    assert_non_null(strstr(l.said, "disk is full"));
}

/* It fills while the session runs: even then its end is recorded soon. */
static void ends_on_a_full_disk(struct stack *s, const struct dev *d,
                                const struct stack_bundle *b)
{
    own_mem char *filler = inside(d, "filler");
    struct stack_session ss;

    stack_create(s, "ann", b, "", &ss);
    json_free(stack_wait(s, "ann", ss.sid, "running", 5000));
    assert_int_equal(unlink(filler), 0);
    fill_disk(d, 0);
    s->attach_port = d->attach_port;
    attaching_says_so(s, ss.sid);
    assert_int_equal(stack_delete(s, "ann", ss.sid), 202);
    json_free(stack_wait(s, "ann", ss.sid, "ended", 5000));
    no_session_directory(d);
    stack_session_fini(&ss);
}

static void a_full_disk_starts_no_session_and_leaves_nothing(void **arg)
{
    struct dev d;
    struct stack s = {.dir = dev_dir, .port = dev_port};
    struct stack_bundle b;
    struct stack_session ss;
    own_mem char *log = mem_printf("%s/dev.log", dev_dir), *filler = NULL;
    own_mem char *bundles = mem_printf("%s/bundles", dev_dir);

    (void)arg;
    dev_root_only();
    s.log_path = log;
    assert_int_equal(mkdir(bundles, 0755), 0);
    stack_pack(&s, "stays", "sleep 1000", &b);
    dev_start(&d, &(struct dev_how){.tmpfs = "size=8m,mode=755"});
    assert_true(dev_says(&d, "podterm is ready", READY_MS));
    s.pid = d.pid;

    filler = inside(&d, "filler");
    for (size_t kib = 0; kib <= 1024; kib = kib ? 2 * kib : 4) {
        fill_disk(&d, kib << 10);
        is_not_created(&s, &d, &b);
        assert_int_equal(unlink(filler), 0);
    }
    fill_disk(&d, 1600 << 10); /* just enough */
    ends_on_a_full_disk(&s, &d, &b);
    assert_int_equal(unlink(filler), 0);

    stack_create(&s, "ann", &b, "", &ss); /* and then all is well again */
    json_free(stack_wait(&s, "ann", ss.sid, "running", 5000));
    stack_session_fini(&ss);
    dev_stop(&d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dev_setup, dev_teardown)
    const struct CMUnitTest tests[] = {
        T(a_full_disk_starts_no_session_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
