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
#include <sys/resource.h>
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
                             bool is_laid)
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
        if (!is_laid) /* killed while the guard was being laid */
            s.head->guard_end = 0;
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

/* Short reads leave most of the guard as it is, all round the ring: the bytes
 * of the one that is cut off are told from what lay there before. */
static void reads_round_the_ring(void)
{
    struct err e = {0};
    struct state s;

    if (state_open(&s, path, STATE_RING_MIN, &e) < 0 ||
        state_spec_set(&s, "{}", 2, "", 0, &e) < 0)
        _exit(1);
    for (size_t len = 1; s.head->output_end < 5 * STATE_RING_MIN; len += 7) {
        size_t room = STATE_GUARD_BYTES;
        uint8_t *at = state_ring_tail(&s, s.head->output_end, &room);

        state_ring_guard(&s, room);
        for (size_t i = 0; i < room; i++)
            if (at[i] < 0xc0)
                _exit(2); /* an old byte where a guard's should be */
        memset(at, 'a' + (int)(len % 26), len);
        if (s.head->output_end > 4 * STATE_RING_MIN)
            kill(getpid(), SIGKILL);
        state_ring_advance(&s, len);
    }
}

static void a_short_read_leaves_the_guard_whole(void **arg)
{
    struct err e = {0};
    struct state s;
    uint64_t end = 0;
    size_t len;
    int status;
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        reads_round_the_ring();
        _exit(3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    for (len = 1; end <= 4 * STATE_RING_MIN; len += 7)
        end += len;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_int_equal(s.head->output_end, end + len);
    for (size_t i = 0, one = 1; i < len; i++, one = 1)
        assert_int_equal(*state_ring_at(&s, end + i, &one),
                         'a' + (int)(len % 26));
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

/* Every subject of a list says which it is, as does their number. */
#define LISTS 64
static struct frame_viewers numbered(uint64_t version)
{
    struct frame_viewers v = {.version = version, .count = version % 8 + 1};

    for (uint32_t i = 0; i < v.count; i++)
        snprintf(v.subjects[i], FRAME_SUBJECT_SIZE, "%0200d",
                 (int)(version % LISTS));
    return v;
}

static void changes_viewers_until_killed(int told_fd)
{
    static struct frame_viewers lists[LISTS]; /* so that it does nothing else */
    struct err e = {0};
    struct state s;

    for (uint64_t i = 0; i < LISTS; i++)
        lists[i] = numbered(i);
    if (state_open(&s, path, STATE_RING_MIN, &e) < 0 ||
        state_spec_set(&s, "{}", 2, "", 0, &e) < 0)
        _exit(1);
    for (uint64_t version = 1;; version++) {
        struct frame_viewers *v = &lists[version % LISTS];

        v->version = version;
        if (state_viewers_set(&s, v, &e) < 0 ||
            (version == 100 && write(told_fd, "", 1) != 1))
            _exit(1);
    }
}

static void a_kill_leaves_one_whole_list_of_viewers(void **arg)
{
    (void)arg;
    for (int i = 0; i < 60; i++) {
        struct frame_viewers want;
        struct err e = {0};
        struct state s;
        int told[2];
        char byte;
        pid_t pid;

        unlink(path);
        assert_int_equal(pipe(told), 0);
        pid = fork();
        if (pid == 0)
            changes_viewers_until_killed(told[1]);
        close(told[1]);
        assert_int_equal(read(told[0], &byte, 1), 1);
        close(told[0]);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
        assert_true(state_viewers(&s)->version >= 100);
        want = numbered(state_viewers(&s)->version);
        assert_int_equal(state_viewers(&s)->count, want.count);
        assert_memory_equal(state_viewers(&s)->subjects, want.subjects,
                            sizeof(want.subjects));
        state_close(&s);
    }
}

static void only_newer_viewers_take_the_place_of_those_in_force(void **arg)
{
    struct frame_viewers v = {0}, other;
    struct err e = {0};
    struct state s;

    (void)arg;
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), 0);
    assert_int_equal(state_viewers(&s)->version, 0);
    assert_int_equal(state_viewers_set(&s, &v, &e), -1); /* the spec's own */
    assert_int_equal(e.kind, ERR_INPUT);
    v = numbered(7);
    assert_int_equal(state_viewers_set(&s, &v, &e), 0);
    assert_int_equal(state_viewers_set(&s, &v, &e), 0);
    other = numbered(6);
    assert_int_equal(state_viewers_set(&s, &other, &e), -1);
    other.version = 7;
    assert_int_equal(state_viewers_set(&s, &other, &e), -1);
    assert_string_equal(state_viewers(&s)->subjects[0], v.subjects[0]);
    other = numbered(UINT64_MAX);
    assert_int_equal(state_viewers_set(&s, &other, &e), 0);
    assert_int_equal(state_viewers_set(&s, &v, &e), -1);
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

/* As on a disk that is full: what, where and what to do is said, and what
 * there was of room is given back. */
static void no_room_is_told_and_nothing_is_kept(void **arg)
{
    struct rlimit old, small;
    struct err e = {0};
    struct state s;
    struct stat st;

    (void)arg;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 65536, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(state_open(&s, path, STATE_RING_MIN, &e), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_false(s.is_resumed);
    assert_non_null(strstr(e.text, path));
    assert_non_null(strstr(e.text, "File too large"));
    assert_non_null(strstr(e.text, "another state directory"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void a_place_that_cannot_be_had_is_told(void **arg)
{
    char nowhere[128];
    struct err e = {0};
    struct state s;

    (void)arg;
    snprintf(nowhere, sizeof(nowhere), "%s/no/agent.state", dir);
    assert_int_equal(state_open(&s, nowhere, STATE_RING_MIN, &e), -1);
    assert_false(s.is_resumed);
    assert_non_null(strstr(e.text, nowhere));
    assert_non_null(strstr(e.text, "No such file or directory"));
    assert_non_null(strstr(e.text, "its directory must be there"));
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
        assert_true(s.is_resumed); /* there was a session */
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
        T(a_short_read_leaves_the_guard_whole),
        T(a_guard_half_laid_brings_nothing),
        T(a_file_without_a_spec_is_made_anew),
        T(no_room_is_told_and_nothing_is_kept),
        T(a_place_that_cannot_be_had_is_told),
        T(held_bytes_are_never_overwritten),
        T(the_ring_runs_on_over_its_oldest_and_stays_contiguous),
        T(a_torn_or_foreign_file_is_refused),
        T(token_ids_are_once_only_until_they_expire),
        T(a_kill_leaves_one_whole_list_of_viewers),
        T(only_newer_viewers_take_the_place_of_those_in_force),
        T(viewers_leave_half_of_the_token_ids_to_the_owner),
        T(stages_are_replaced_by_name_and_bounded),
        T(a_ring_size_that_is_no_power_of_two_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
