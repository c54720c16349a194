/* What a program in the cage sees, has and may do, and what the keeper says of
 * it. test_keeper_end.c: how a session ends. */
#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/keeperrig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void a_session_runs_to_its_end(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *text = NULL, *id = NULL;
    int pid = 0;

    keeper_run(r, "pwd; whoami; hostname; echo $HOME; tty", NULL);
    pid = r->pid;
    assert_int_equal(keeper_end(r), 0);
    text = keeper_read_file(r, "agent/end.json");
    assert_string_equal(text,
                        "/\r\nuser\r\nrunner\r\n/home/user\r\n/dev/pts/0\r\n");
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
    free(text);
    text = keeper_read_file(r, "keeper.json");
    id = mem_printf("{\"pid\":%d,\"start\":", pid);
    assert_non_null(strstr(text, id));
    assert_non_null(strstr(text, "\"boot_id\":\""));
}

static int host_port(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(bind(fd, (void *)&at, len), errno);
    assert_return_code(listen(fd, 4), errno);
    assert_return_code(getsockname(fd, (void *)&at, &len), errno);
    *port = ntohs(at.sin_port);
    return fd;
}

static int host_name(char name[32])
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len;

    snprintf(name, 32, "podterm-test-%d", (int)getpid());
    memcpy(at.sun_path + 1, name, strlen(name));
    len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    assert_return_code(bind(fd, (void *)&at, len), errno);
    assert_return_code(listen(fd, 4), errno);
    return fd;
}

static void put_self_in_bundle(struct keeper_rig *r)
{
    own_mem char *cmd = mem_printf("cp %s %s/bundle/hostile && chmod 0755 "
                                   "%s/bundle/hostile",
                                   keeper_self_path, r->dir, r->dir);

    assert_int_equal(system(cmd), 0);
}

static void a_hostile_program_sees_nothing_of_the_host(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *script = NULL, *text = NULL;
    uint16_t port;
    char name[32];
    own_fd int tcp = host_port(&port), un = host_name(name);

    (void)tcp;
    (void)un;
    put_self_in_bundle(r);
    script = mem_printf("HOST_STATE=%s\nHOST_PORT=%u\nHOST_NAME=%s\n"
                        "HOST_ONLY_CAGE=1\n"
                        "ASAN_OPTIONS=detect_leaks=0\n"
                        "exec /run/podterm/bundle/hostile --hostile",
                        r->dir, port, name);
    keeper_run(r, script, NULL);
    assert_int_equal(keeper_end(r), 0);
    text = keeper_read_file(r, "agent/end.json");
    if (strstr(text, "BAD") || !strstr(text, "TRIED"))
        fail_msg("%s", text);
    keeper_expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
}

static int oom_of(pid_t pid)
{
    own_mem char *path = mem_printf("/proc/%d/oom_score_adj", (int)pid);
    FILE *f = fopen(path, "re");
    int value;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &value), 1);
    fclose(f);
    return value;
}

/* The kernel's choice when memory runs out: the cage, not its keepers. */
static void only_the_cage_is_chosen_when_memory_runs_out(void **state)
{
    struct keeper_rig *r = *state;
    const int own = oom_of(getpid());
    own_mem char *want = mem_printf("oom %d.", own < 500 ? own + 500 : 1000);

    keeper_run(r,
               "#stay\necho oom $(cat /proc/self/oom_score_adj).; sleep 4315",
               NULL);
    keeper_shows(r, want);
    assert_int_equal(oom_of(r->pid), own);
    assert_int_equal(oom_of(keeper_child_of(r->pid, "podterm-agent")), own);
    kill(r->pid, SIGTERM);
    assert_int_equal(keeper_end(r), 0);
}

/* --- isolation none: what has no cage is still ended as one --- */

static void scratch_space_has_a_size(void **state)
{
    static const char *const more[] = {
        "--tmp-bytes", "1048576", "--home-bytes", "2097152", "--shm-bytes",
        "1048576",     NULL};
    struct keeper_rig *r = *state;
    own_mem char *text = NULL;

    keeper_run(
        r,
        "for d in /tmp /home/user /dev/shm; do head -c 3000000 /dev/zero "
        ">$d/x 2>/dev/null; stat -c %s $d/x; done",
        more);
    assert_int_equal(keeper_end(r), 0);
    text = keeper_read_file(r, "agent/end.json");
    assert_string_equal(text, "1048576\r\n2097152\r\n1048576\r\n");
}

static void open_egress_shares_the_network(void **state)
{
    static const char *const more[] = {"--egress", "open", NULL};
    struct keeper_rig *r = *state;
    own_mem char *script = NULL;
    uint16_t port;
    own_fd int tcp = host_port(&port);

    (void)tcp;
    script = mem_printf("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/%u && echo "
                        "through'",
                        port);
    keeper_run(r, script, more);
    assert_int_equal(keeper_end(r), 0);
    keeper_shows(r, "through");
}

static void a_program_finds_what_it_needs(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *text = NULL;

    keeper_run(
        r,
        "id -un; id -gn; getent hosts localhost >/dev/null && echo hosts; "
        "test -r /etc/ssl/certs/ca-certificates.crt && echo roots; "
        "test -r /etc/os-release && echo release; awk 'BEGIN{print \"awk\"}'; "
        "python3 -c 'import ssl,tempfile;print(tempfile.gettempdir())'; "
        "tput cols >/dev/null && echo tput; mktemp -p /var/tmp >/dev/null && "
        "echo vartmp; ls /etc | tr '\\n' ' '",
        NULL);
    assert_int_equal(keeper_end(r), 0);
    text = keeper_read_file(r, "agent/end.json");
    if (!strstr(text, "user\r\nuser\r\nhosts\r\nroots\r\nrelease\r\nawk\r\n"
                      "/tmp\r\n"))
        fail_msg("%s", text);
    assert_non_null(strstr(text, "vartmp"));
}

static void the_start_is_quick(void **state)
{
    struct keeper_rig *r = *state;
    own_mem char *text = NULL;
    long long at;

    keeper_run(r, "true", NULL);
    assert_int_equal(keeper_end(r), 0);
    text = keeper_read_file(r, "agent/status.json");
    assert_int_equal(sscanf(text, "%lld", &at), 1);
    print_message("HELLO came %.1f ms after the keeper's start\n",
                  (double)(at - r->start_us) / 1000);
    assert_true(at - r->start_us < 1000000);
}

static char *output_of(const char *flags, int *code)
{
    own_mem char *cmd = mem_printf("%s %s 2>&1", keeper_path, flags);
    FILE *f = popen(cmd, "r");
    char *out = mem_zero(8192, 1);

    out[fread(out, 1, 8191, f)] = 0;
    *code = WEXITSTATUS(pclose(f));
    return out;
}

static void the_probe_really_tries(void **state)
{
    own_mem char *out = NULL, *none = NULL, *lie = NULL;
    const char *uid = geteuid() == 0 ? "--runner-uid 71002" : "";
    own_mem char *plain = mem_printf("--probe %s", uid);
    own_mem char *gone_ = mem_printf("--probe %s --bwrap /no/bwrap", uid);
    own_mem char *fails = mem_printf("--probe %s --bwrap /usr/bin/false", uid);
    int code;

    (void)state;
    out = output_of(plain, &code);
    assert_string_equal(out, "{\"isolation\":\"full\"}\n");
    assert_int_equal(code, 0);
    none = output_of(gone_, &code);
    assert_non_null(strstr(none, "{\"isolation\":\"none\",\"reason\":"));
    assert_non_null(strstr(none, "install bubblewrap"));
    assert_int_equal(code, 1);
    lie = output_of(fails, &code);
    assert_non_null(strstr(lie, "{\"isolation\":\"none\",\"reason\":"));
    assert_int_equal(code, 1);
}

static void bad_settings_are_told(void **state)
{
    static const struct {
        const char *flags, *says;
        bool root_only;
    } bad[] = {
        {"--isolation half", "neither full nor none", false},
        {"--egress some --runner-uid 5", "neither none nor open", false},
        {"--isolation none --runner-uid 5", "not as root", true},
        {"--probe", "--runner-uid must name a user", true},
        {"--runner-uid 5", "--dir, --agent and --shim", true},
        {"--runner-uid 5 --agent-uid 5 --dir / --agent /a --shim /s",
         "neither 0 nor the runner's", true},
        {"--tmp-bytes 1", "tmp-bytes", false},
        {"--dir", "dir", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        own_mem char *out = NULL;
        int code;

        if (bad[i].root_only && geteuid() != 0)
            continue;
        out = output_of(bad[i].flags, &code);
        if (!strstr(out, bad[i].says))
            fail_msg("%s: %s", bad[i].flags, out);
        assert_int_equal(code, 2);
    }
}

/* All of this once more as an ordinary user. */
static void all_of_it_holds_for_an_ordinary_user_too(void **state)
{
    (void)state;
    keeper_as_ordinary_user();
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, keeper_setup, keeper_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_session_runs_to_its_end),
        T(a_hostile_program_sees_nothing_of_the_host),
        T(only_the_cage_is_chosen_when_memory_runs_out),
        T(scratch_space_has_a_size),
        T(open_egress_shares_the_network),
        T(a_program_finds_what_it_needs),
        T(the_start_is_quick),
        T(the_probe_really_tries),
        T(bad_settings_are_told),
        T(all_of_it_holds_for_an_ordinary_user_too),
    };
    int status;

    if (keeper_role(argc, argv, &status))
        return status;
    return cmocka_run_group_tests(tests, keeper_group_setup,
                                  keeper_group_teardown);
}
