/* The spec's way from its file into the state, and what stays of it. */
#include "agent/specfile.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/programs.h"
#include "tests/lib/spec_fixture.h"
#include "tests/lib/token_fixture.h"

#include <errno.h>
#include <fcntl.h>
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

struct bench {
    char *dir, *spec_path, *state_path;
    struct state state;
    struct agent_spec spec;
    struct err e;
};

static int setup(void **arg)
{
    struct bench *b = mem_zero(1, sizeof(*b));

    b->dir = scratch_new();
    b->spec_path = mem_printf("%s/spec.json", b->dir);
    b->state_path = mem_printf("%s/agent.state", b->dir);
    *arg = b;
    return 0;
}

static void bench_close(struct bench *b)
{
    spec_fini(&b->spec);
    state_close(&b->state);
}

static int teardown(void **arg)
{
    struct bench *b = *arg;

    bench_close(b);
    scratch_remove(b->dir);
    free(b->spec_path);
    free(b->state_path);
    free(b);
    return 0;
}

static void put(const char *path, const char *text, size_t len)
{
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, len), len);
}

static void put_spec(const struct bench *b, const char *path, const char *bend)
{
    own_json struct json *j = spec_fixture();
    own_mem char *text = NULL;

    if (path)
        j = spec_bend(own_mem_give(&j), path, bend);
    text = json_text(j);
    put(b->spec_path, text, strlen(text));
}

static int load(struct bench *b)
{
    bench_close(b);
    b->e = (struct err){0};
    return specfile_load(b->spec_path, b->state_path, &b->state, &b->spec,
                         &b->e);
}

static void must_load(struct bench *b)
{
    if (load(b) < 0)
        fail_msg("%s", b->e.text);
}

static bool state_file_holds(const struct bench *b, const char *text)
{
    own_fd int fd = open(b->state_path, O_RDONLY);
    own_mem char *all = mem_zero(4 << 20, 1);
    ssize_t n = read(fd, all, 4 << 20);

    assert_true(n > 0);
    return memmem(all, (size_t)n, text, strlen(text)) != NULL;
}

static void a_spec_is_taken_and_its_file_deleted(void **arg)
{
    struct bench *b = *arg;

    put_spec(b, "ring_bytes", "524288");
    must_load(b);
    assert_int_equal(access(b->spec_path, F_OK), -1);
    assert_false(b->state.is_resumed);
    assert_int_equal(b->state.ring_bytes, 524288);
    assert_string_equal(b->spec.sid, SID);
    assert_string_equal(b->spec.env[0], "API_KEY=" SPEC_SECRET);
}

static void a_restart_reads_the_state_alone(void **arg)
{
    struct bench *b = *arg;

    put_spec(b, NULL, NULL);
    must_load(b);
    must_load(b);
    assert_true(b->state.is_resumed);
    assert_string_equal(b->spec.sid, SID);
    assert_string_equal(b->spec.env[0], "API_KEY=" SPEC_SECRET);
    assert_int_equal(b->state.head->restarts, 2);
}

/* Those of the spec hold until others were told, and never again after. */
static void a_restart_knows_the_viewers_told_last(void **arg)
{
    struct frame_viewers v = {.version = 9, .count = 1, .subjects = {"walt"}};
    struct bench *b = *arg;

    put_spec(b, NULL, NULL);
    must_load(b);
    must_load(b);
    assert_int_equal(b->spec.viewers.version, 0);
    assert_string_equal(b->spec.viewers.subjects[0], SPEC_VIEWER);
    assert_int_equal(state_viewers_set(&b->state, &v, &b->e), 0);
    must_load(b);
    assert_int_equal(b->spec.viewers.version, 9);
    assert_int_equal(b->spec.viewers.count, 1);
    assert_string_equal(b->spec.viewers.subjects[0], "walt");
    v = (struct frame_viewers){.version = 10};
    assert_int_equal(state_viewers_set(&b->state, &v, &b->e), 0);
    must_load(b);
    assert_int_equal(b->spec.viewers.count, 0); /* nobody, not the spec's */
}

static void a_file_put_there_later_changes_nothing_and_goes(void **arg)
{
    struct bench *b = *arg;

    put_spec(b, NULL, NULL);
    must_load(b);
    /* as a kill between keeping and deleting leaves it, or worse */
    put_spec(b, "owner.sub", "\"mallory\"");
    must_load(b);
    assert_string_equal(b->spec.owner_sub, "alice");
    assert_int_equal(access(b->spec_path, F_OK), -1);
    put(b->spec_path, "{", 1);
    must_load(b);
    assert_int_equal(access(b->spec_path, F_OK), -1);
}

static void a_wiped_environment_is_in_no_file(void **arg)
{
    struct bench *b = *arg;

    put_spec(b, NULL, NULL);
    must_load(b);
    assert_true(state_file_holds(b, SPEC_SECRET));
    assert_null(memmem(b->state.spec, b->state.head->spec_len, SPEC_SECRET,
                       strlen(SPEC_SECRET)));
    state_env_wipe(&b->state);
    assert_false(state_file_holds(b, SPEC_SECRET));
    must_load(b);
    assert_null(b->spec.env[0]);
    assert_string_equal(b->spec.sid, SID);
}

static void a_bad_spec_is_refused_and_nothing_kept_of_it(void **arg)
{
    static const char *const texts[] = {"", "{", "{}", "[1]", "{\"v\":1}x"};
    struct bench *b = *arg;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put(b->spec_path, texts[i], strlen(texts[i]));
        assert_int_equal(load(b), -1);
        assert_int_equal(b->e.kind, ERR_INPUT);
        assert_non_null(strstr(b->e.text, "spec"));
    }
    put_spec(b, "lifetime_s", "0");
    assert_int_equal(load(b), -1);
    assert_non_null(strstr(b->e.text, "lifetime_s"));
    assert_false(state_file_holds(b, SPEC_SECRET));
    put_spec(b, NULL, NULL);
    must_load(b);
    assert_false(b->state.is_resumed);
}

static void what_is_no_small_file_is_not_read(void **arg)
{
    struct bench *b = *arg;

    assert_int_equal(load(b), -1);
    assert_non_null(strstr(b->e.text, b->spec_path));
    assert_int_equal(mkdir(b->spec_path, 0700), 0);
    assert_int_equal(load(b), -1);
    assert_int_equal(rmdir(b->spec_path), 0);
    put(b->spec_path, "", 0);
    assert_int_equal(truncate(b->spec_path, STATE_SPEC_MAX + STATE_ENV_MAX + 1),
                     0);
    assert_int_equal(load(b), -1);
    assert_int_equal(b->e.kind, ERR_INPUT);
}

static void a_file_that_cannot_be_deleted_stays(void **arg)
{
    struct bench *b = *arg;
    own_mem char *home = mem_printf("%s/state", b->dir);
    int status;
    pid_t pid;

    put_spec(b, NULL, NULL);
    assert_int_equal(mkdir(home, 0700), 0);
    free(b->state_path);
    b->state_path = mem_printf("%s/agent.state", home);
    if (geteuid() == 0)
        assert_true(chown(home, 65534, 65534) == 0 &&
                    chown(b->spec_path, 65534, 65534) == 0);
    assert_int_equal(chmod(b->dir, 0555), 0);
    pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setuid(65534) < 0)
            _exit(2);
        _exit(load(b) == 0 && access(b->spec_path, F_OK) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(b->dir, 0755), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- memory --- */

#define MASK 0x55

/* A secret that stands in this process masked alone, and the part of it that
 * is looked for: free(3) writes over the first bytes of what it gets. */
static uint8_t masked[600];
#define PART_AT 200
#define PART_BYTES 64

static void write_secret_spec(const struct bench *b)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        char env[sizeof(masked) + 16] = "{\"KEY\":\"", *p = env + strlen(env);

        for (size_t i = 0; i < sizeof(masked); i++)
            *p++ = (char)(masked[i] ^ MASK);
        memcpy(p, "\"}", 3);
        put_spec(b, "env", env);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static bool is_secret(const uint8_t *p)
{
    for (size_t i = 0; i < PART_BYTES; i++)
        if ((p[i] ^ MASK) != masked[PART_AT + i])
            return false;
    return true;
}

/* How often the secret stands in what a core of this process would hold. */
static int secrets_in(int mem, uintptr_t from, uintptr_t to)
{
    static uint8_t page[65536 + PART_BYTES];
    int found = 0;

    for (; from < to; from += 65536) {
        size_t want = to - from < sizeof(page) ? to - from : sizeof(page);
        ssize_t n = pread(mem, page, want, (off_t)from);

        for (ssize_t i = 0; i + PART_BYTES <= n; i++)
            found += is_secret(page + i);
    }
    memset(page, 0, sizeof(page));
    return found;
}

static int secrets_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    own_fd int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char line[512], mode[5];
    int found = 0;

    assert_non_null(maps);
    assert_true(mem >= 0);
    while (fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;

        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 &&
            mode[1] == 'w' && to - from < (64u << 20))
            found += secrets_in(mem, from, to);
    }
    fclose(maps);
    return found;
}

static void a_forgotten_environment_is_nowhere_in_memory(void **arg)
{
    struct bench *b = *arg;

    for (uint32_t i = 0, x = 1; i < sizeof(masked); i++) {
        x = x * 1103515245 + 12345;
        masked[i] = (uint8_t)('A' + (x >> 16) % 26) ^ MASK;
    }
    write_secret_spec(b);
    must_load(b);
    assert_true(secrets_in_memory() > 0); /* or the search is no search */
    must_load(b);                         /* and once more, from the state */
    spec_env_forget(&b->spec);
    state_env_wipe(&b->state);
    assert_int_equal(secrets_in_memory(), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_spec_is_taken_and_its_file_deleted),
        T(a_restart_reads_the_state_alone),
        T(a_restart_knows_the_viewers_told_last),
        T(a_file_put_there_later_changes_nothing_and_goes),
        T(a_wiped_environment_is_in_no_file),
        T(a_bad_spec_is_refused_and_nothing_kept_of_it),
        T(what_is_no_small_file_is_not_read),
        T(a_file_that_cannot_be_deleted_stays),
        T(a_forgotten_environment_is_nowhere_in_memory),
    };

    return cmocka_run_group_tests(tests, token_setup, token_teardown);
}
