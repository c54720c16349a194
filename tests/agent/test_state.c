/* The state file: what a kill at any moment leaves is true. */
#include "agent/state.h"

#include <fcntl.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static char path[96];

static int setup(void **arg)
{
    (void)arg;
    snprintf(dir, sizeof(dir), "/tmp/podterm-state-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/agent.state", dir);
    return 0;
}

static int teardown(void **arg)
{
    (void)arg;
    unlink(path);
    return rmdir(dir);
}

static void put(struct state *s, uint64_t keep_from, uint8_t byte, size_t len)
{
    while (len > 0) {
        size_t room = len;
        uint8_t *at = state_ring_tail(s, keep_from, &room);

        assert_non_null(at);
        memset(at, byte, room);
        state_ring_advance(s, room);
        len -= room;
    }
}

static void what_was_written_is_there_after_a_kill(void **arg)
{
    struct err e = {0};
    struct state s;
    size_t len = 5;
    int status;
    pid_t pid;

    (void)arg;
    pid = fork();
    if (pid == 0) {
        if (state_open(&s, path, STATE_RING_MIN, &e) < 0 || s.is_resumed ||
            state_spec_set(&s, "{}", 2, "{\"A\":1}", 7, &e) < 0)
            _exit(1);
        put(&s, 0, 'x', 5);
        s.head->input_received = 77;
        state_jti_add(&s, "abc", ROLE_OWNER, 1000, 10, &e);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));

    assert_int_equal(state_open(&s, path, STATE_RING_MIN * 2, &e), 0);
    assert_true(s.is_resumed);
    assert_int_equal(s.ring_bytes, STATE_RING_MIN);
    assert_int_equal(s.head->restarts, 2);
    assert_int_equal(s.head->output_end, 5);
    assert_int_equal(s.head->input_received, 77);
    assert_memory_equal(state_ring_at(&s, 0, &len), "xxxxx", 5);
    assert_memory_equal(s.env, "{\"A\":1}", 7);
    assert_int_equal(state_jti_add(&s, "abc", ROLE_OWNER, 1000, 11, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    state_env_wipe(&s);
    assert_int_equal(s.head->env_len, 0);
    assert_int_equal(s.env[0], 0);
    state_close(&s);
}

/* A child opens the file, lays the guard `times` over, has `len` bytes read
 * behind it and is killed before it can say so. */
static void killed_in_a_read(const char *bytes, size_t len, int times,
                             bool laid_whole)
{
    struct err e = {0};
    struct state s;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        size_t room = STATE_GUARD_BYTES;
        uint8_t *at;

        if (state_open(&s, path, STATE_RING_MIN, &e) < 0 ||
            state_spec_set(&s, "{}", 2, "", 0, &e) < 0)
            _exit(1);
        at = state_ring_tail(&s, 0, &room);
        for (int i = 0; i < times; i++)
            state_ring_guard(&s, room);
        if (!laid_whole) /* killed while the guard was being laid */
            s.head->guard_at = 0;
        memcpy(at, bytes, len);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void what_a_killed_read_brought_is_found_again(void **arg)
{
    static char full[STATE_GUARD_BYTES];
    static const char text[] = "gr\xc3\xbc\xc3\x9f dich\xf0\x9f\x98\x80";
    size_t n = sizeof(text) - 1, len;
    struct err e = {0};
    struct state s;

    (void)arg;
    memset(full, 'z', sizeof(full));
    killed_in_a_read(text, n, 2, true);
    killed_in_a_read("", 0, 1, true);
    killed_in_a_read(full, sizeof(full), 1, true);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_int_equal(s.head->output_end, n + sizeof(full));
    len = n;
    assert_memory_equal(state_ring_at(&s, 0, &len), text, n);
    len = sizeof(full);
    assert_memory_equal(state_ring_at(&s, n, &len), full, sizeof(full));
    state_close(&s);
}

static void a_guard_half_laid_brings_nothing(void **arg)
{
    struct err e = {0};
    struct state s;

    (void)arg;
    killed_in_a_read("old bytes", 9, 1, false);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_int_equal(s.head->output_end, 0);
    put(&s, 0, 'x', 5);
    state_close(&s);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_int_equal(s.head->output_end, 5);
    state_close(&s);
}

static void a_file_without_a_spec_is_made_anew(void **arg)
{
    struct err e = {0};
    struct state s;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    s.head->output_end = 9;
    state_close(&s);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_false(s.is_resumed);
    assert_int_equal(s.head->output_end, 0);
    state_close(&s);
}

static void held_bytes_are_never_overwritten(void **arg)
{
    struct err e = {0};
    struct state s;
    size_t room;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    put(&s, 0, 'a', STATE_RING_MIN);
    room = 100;
    assert_null(state_ring_tail(&s, 0, &room));
    assert_int_equal(room, 0);
    room = 100;
    assert_non_null(state_ring_tail(&s, 40, &room));
    assert_int_equal(room, 40);
    assert_int_equal(s.head->output_oldest, 40);
    state_close(&s);
}

static void the_ring_runs_on_over_its_oldest_and_stays_contiguous(void **arg)
{
    struct err e = {0};
    struct state s;
    size_t len;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    for (int i = 0; i < 50; i++)
        put(&s, s.head->output_end, (uint8_t)i, 4099);
    assert_true(s.head->output_end - s.head->output_oldest <= STATE_RING_MIN);
    for (uint64_t at = s.head->output_oldest; at < s.head->output_end;) {
        const uint8_t *p;

        len = 4099 - at % 4099; /* to the end of one fill */
        p = state_ring_at(&s, at, &len);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(p[i], at / 4099);
        at += len;
    }
    state_close(&s);
}

static void a_torn_or_foreign_file_is_refused(void **arg)
{
    static const struct {
        long at;
        uint8_t byte;
    } harm[] = {{0, 'X'}, {8, 99}, {17, 3}, {12, 1}};
    struct err e = {0};
    struct state s;

    (void)arg;
    for (size_t i = 0; i < sizeof(harm) / sizeof(harm[0]); i++) {
        int fd;

        unlink(path);
        assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
        assert_int_equal(state_spec_set(&s, "{}", 2, "", 0, &e), 0);
        state_close(&s);
        fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, &harm[i].byte, 1, harm[i].at), 1);
        close(fd);
        assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), -1);
        assert_int_equal(e.kind, ERR_SYSTEM);
    }
    unlink(path);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    state_close(&s);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), -1);
    assert_non_null(strstr(e.text, "chmod 600"));
}

static void token_ids_are_once_only_until_they_expire(void **arg)
{
    struct err e = {0};
    struct state s;
    char id[32];

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    for (int i = 0; i < STATE_JTIS; i++) {
        snprintf(id, sizeof(id), "id%d", i);
        assert_int_equal(state_jti_add(&s, id, ROLE_OWNER, 100, 10, &e), 0);
    }
    assert_int_equal(state_jti_add(&s, "id3", ROLE_OWNER, 100, 99, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    assert_int_equal(state_jti_add(&s, "more", ROLE_OWNER, 100, 99, &e), -1);
    assert_int_equal(e.kind, ERR_BUSY);
    assert_int_equal(state_jti_add(&s, "more", ROLE_OWNER, 300, 100, &e), 0);
    assert_int_equal(state_jti_add(&s, "more", ROLE_OWNER, 300, 101, &e), -1);
    state_close(&s);
}

static void viewers_leave_half_of_the_token_ids_to_the_owner(void **arg)
{
    struct err e = {0};
    struct state s;
    char id[32];
    int taken = 0;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    for (int i = 0; i < STATE_JTIS; i++) {
        snprintf(id, sizeof(id), "v%d", i);
        taken += state_jti_add(&s, id, ROLE_VIEWER, 100, 10, &e) == 0;
    }
    assert_int_equal(taken, STATE_JTIS_VIEWERS);
    assert_int_equal(e.kind, ERR_BUSY);
    for (int i = 0; i < STATE_JTIS - STATE_JTIS_VIEWERS; i++) {
        snprintf(id, sizeof(id), "o%d", i);
        assert_int_equal(state_jti_add(&s, id,
                                       i % 2 ? ROLE_OWNER : ROLE_CONTROL, 200,
                                       10, &e),
                         0);
    }
    /* what has expired counts no more, and a slot changes hands */
    assert_int_equal(state_jti_add(&s, "w", ROLE_VIEWER, 300, 100, &e), 0);
    for (int i = 1; i < STATE_JTIS_VIEWERS; i++) {
        snprintf(id, sizeof(id), "p%d", i);
        assert_int_equal(state_jti_add(&s, id, ROLE_OWNER, 300, 100, &e), 0);
    }
    assert_int_equal(state_jti_add(&s, "x", ROLE_OWNER, 300, 100, &e), -1);
    assert_int_equal(state_jti_add(&s, "x", ROLE_VIEWER, 300, 200, &e), 0);
    state_close(&s);
}

static void stages_are_replaced_by_name_and_bounded(void **arg)
{
    struct err e = {0};
    struct state s;
    char name[16];

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    s.head->created_ms = 1000;
    state_stage_set(&s, "fetch", "running", "", 1, 9, 1500);
    state_stage_set(&s, "fetch", "done", "", 9, 9, 1700);
    assert_int_equal(s.head->stage_count, 1);
    assert_int_equal(s.head->stages[0].ms, 700);
    assert_string_equal(s.head->stages[0].state, "done");
    for (int i = 0; i < 3 * STATE_STAGES; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        state_stage_set(&s, name, "done", "", 0, 0, 2000);
    }
    assert_int_equal(s.head->stage_count, STATE_STAGES);
    state_close(&s);
}

static void a_ring_size_that_is_no_power_of_two_is_refused(void **arg)
{
    struct err e = {0};
    struct state s;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN + 1, &e), -1);
    assert_int_equal(e.kind, ERR_INPUT);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN / 2, &e), -1);
    assert_int_equal(open(path, O_RDONLY | O_CREAT, 0600) >= 0, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_written_is_there_after_a_kill),
        T(what_a_killed_read_brought_is_found_again),
        T(a_guard_half_laid_brings_nothing),
        T(a_file_without_a_spec_is_made_anew),
        T(held_bytes_are_never_overwritten),
        T(the_ring_runs_on_over_its_oldest_and_stays_contiguous),
        T(a_torn_or_foreign_file_is_refused),
        T(token_ids_are_once_only_until_they_expire),
        T(viewers_leave_half_of_the_token_ids_to_the_owner),
        T(stages_are_replaced_by_name_and_bounded),
        T(a_ring_size_that_is_no_power_of_two_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
