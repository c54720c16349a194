/*
 * Many sessions started and ended at once, in every way a session ends,
 * leave nothing behind.
 */
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/stack.h"
#include "tests/lib/stackproc.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 200
#define USERS 7
#define ENDED_MS 60000
#define QUIET_MS 5000 /* for descriptors to be closed */
/*
 * Of a service's own memory, over the second wave: 12 KiB a session. Nothing
 * leaks: blocks and bytes allocated are the same after six waves and after
 * nine, in the gateway after each. What grows is the heap's scatter, which
 * follows the most that was ever there at once: over twelve waves the
 * controller had 7.4, 8.5, 8.8, 9.1, 9.3 MiB and then 9.1 to 9.5, the gateway
 * 1.9 and from the seventh on 2.1.
 */
#define GROWTH_KIB 2400

enum way {           /* how a session ends */
           EXITS,    /* its program alone */
           DELETED,  /* at once, mostly before it runs */
           ENDS,     /* its client says END */
           REFUSED,  /* its bundle is not what was named */
           VANISHES, /* its client is gone, its program ends later */
           WAYS,
};

static const char *const reasons[WAYS] = {"exited", "deleted", "deleted",
                                          "bundle_refused", "exited"};

static struct stack *stack;
static struct stack_bundle bundles[WAYS];

static int setup(void **arg)
{
    /* uids for one wave, so that the second needs those of the first */
    static const char *const more[] = {"--",
                                       "--quota=1000",
                                       "--linger-detached-s=1",
                                       "--uid-count=402",
                                       "--conns-per-address=1000",
                                       NULL};

    (void)arg;
    stack = stack_new(more);
    stack_pack(stack, "exits", "(setsid sleep 1000 &) ; exit 3",
               &bundles[EXITS]);
    stack_pack(stack, "stays", "sleep 1000", &bundles[DELETED]);
    stack_pack(stack, "later", "read -r go; sleep 1", &bundles[VANISHES]);
    bundles[ENDS] = bundles[REFUSED] = bundles[DELETED];
    memset(bundles[REFUSED].sha256, '0', 64);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    stack_free(stack);
    return 0;
}

static void say_end(struct stack_link *l)
{
    uint8_t msg[FRAME_HEAD_MAX];

    wspeer_send(l->peer, 2, msg, frame_head(msg, FRAME_END));
}

/* The client's part in it. */
static void play(struct stack_session *ss, enum way way, struct stack_link *l)
{
    *l = (struct stack_link){0};
    switch (way) {
    case DELETED:
        assert_in_range(stack_delete(stack, ss->who, ss->sid), 200, 202);
        break;
    case ENDS:
        assert_true(stack_attach(stack, l, ss->token, 0, 80, 24));
        say_end(l);
        break;
    case VANISHES:
        assert_true(stack_attach(stack, l, ss->token, 0, 80, 24));
        stack_type(l, 0, "\n", 1);
        while (l->input_acked < 1)
            assert_true(stack_pump(l, NULL, NULL, true));
        stack_cut(l);
        break;
    default:
        break;
    }
}

/* Every request is under way before the first answer is read. */
static void create_all(struct stack_session *all, size_t count)
{
    char who[USERS][32];
    char *identity[USERS];
    int fds[MANY];

    for (size_t i = 0; i < USERS; i++) {
        snprintf(who[i], sizeof(who[i]), "user%zu", i);
        identity[i] = stack_identity(stack, who[i]);
    }
    for (size_t i = 0; i < count; i++) {
        fds[i] = stack_ask(stack, identity[i % USERS], &bundles[i % WAYS], "");
        assert_true(fds[i] >= 0);
    }
    for (size_t i = 0; i < count; i++)
        stack_created(who[i % USERS], fds[i], &all[i]);
    for (size_t i = 0; i < USERS; i++)
        free(identity[i]);
}

static void wave(size_t count)
{
    static struct stack_session all[MANY];
    static struct stack_link links[MANY];

    create_all(all, count);
    for (size_t i = 0; i < count; i++)
        play(&all[i], i % WAYS, &links[i]);
    for (size_t i = 0; i < count; i++) { /* what is said to who said END */
        while (links[i].peer && stack_pump(&links[i], NULL, NULL, true))
            ;
        assert_true(!links[i].peer || links[i].is_ended);
        stack_cut(&links[i]);
    }
    for (size_t i = 0; i < count; i++) {
        own_json struct json *j =
            stack_wait(stack, all[i].who, all[i].sid, "ended", ENDED_MS);
        own_mem char *text = json_text(j);

        if (strcmp(json_get_str(j, "reason"), reasons[i % WAYS]) != 0)
            fail_msg("session %zu, not %s but: %s", i, reasons[i % WAYS], text);
        stack_session_fini(&all[i]);
    }
}

static pid_t service(const char *name)
{
    pid_t pid;

    assert_int_equal(stack_pids(stack, name, NULL, &pid, 1), 1);
    return pid;
}

/* As many descriptors as before; the last connections may still close. */
static void wait_fds(pid_t pid, const char *name, int before)
{
    int64_t until = loop_now_ms() + QUIET_MS;
    int now;

    while ((now = stackproc_fds(pid)) > before && loop_now_ms() < until)
        poll(NULL, 0, 20);
    if (now > before)
        fail_msg("%s: %d descriptors, %d before", name, now, before);
}

static void has_not_grown(pid_t pid, const char *name, int before_kib)
{
    int kib = stackproc_private_kib(pid) - before_kib;

    print_message("the %s grew by %d KiB\n", name, kib);
    assert_true(kib < GROWTH_KIB);
}

static int sessions_dir(void)
{
    own_mem char *path = mem_printf("%s/state/sessions", stack->dir);
    DIR *d = opendir(path);
    int n = 0;

    assert_non_null(d);
    for (struct dirent *de; (de = readdir(d));)
        n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void many_sessions_started_and_ended_at_once_leave_nothing(void **arg)
{
    pid_t controller = service("podterm-controller");
    pid_t gateway = service("podterm-gateway"), left[16];
    int controller_fds, gateway_fds, dev_fds, controller_kib, gateway_kib;
    int64_t start_ms;

    (void)arg;
    wave(MANY); /* what is allocated once is there */
    poll(NULL, 0, 500);
    controller_fds = stackproc_fds(controller);
    gateway_fds = stackproc_fds(gateway);
    dev_fds = stackproc_fds(stack->pid);
    controller_kib = stackproc_private_kib(controller);
    gateway_kib = stackproc_private_kib(gateway);

    start_ms = loop_now_ms();
    wave(MANY);
    print_message("%d sessions in %lld ms\n", MANY,
                  (long long)(loop_now_ms() - start_ms));

    assert_int_equal(stackproc_all(stack, left, 16), 2); /* the services */
    assert_int_equal(sessions_dir(), 0);
    wait_fds(controller, "controller", controller_fds);
    wait_fds(gateway, "gateway", gateway_fds);
    assert_int_equal(stackproc_fds(stack->pid), dev_fds);
    assert_int_equal(stackproc_watches(controller), 0);
    assert_int_equal(service("podterm-controller"), controller);
    assert_int_equal(service("podterm-gateway"), gateway);
    has_not_grown(controller, "controller", controller_kib);
    has_not_grown(gateway, "gateway", gateway_kib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_sessions_started_and_ended_at_once_leave_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
