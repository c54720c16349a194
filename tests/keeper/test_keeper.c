/* The real keeper, shim and bubblewrap with a stand-in for the agent; as root
 * with uids of its own, else as the user who runs the tests. */
#include "base/err.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/fake_agent.h"
#include "tests/lib/hostile.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_MS 8000
#define AGENT_UID 71001
#define RUNNER_UID 71002
#define ORDINARY 71003

static char *keeper_path, *shim_path, *self_path;

struct rig {
    char *state, *dir; /* STATE, STATE/sid */
    bool is_root;
    pid_t pid;
    int life_fd; /* our end of the life pipe */
    int64_t start_us;
};

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void make_dir(struct rig *r, const char *name, mode_t mode, uid_t uid,
                     gid_t gid)
{
    own_mem char *path = mem_printf("%s%s", r->dir, name);

    assert_return_code(mkdir(path, mode), errno);
    if (r->is_root)
        assert_return_code(chown(path, uid, gid), errno);
    assert_return_code(chmod(path, mode), errno);
}

static void put_file(const char *path, const char *text, uid_t uid)
{
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    if (geteuid() == 0)
        assert_return_code(fchown(fd, uid, uid), errno);
}

static int setup(void **state)
{
    struct rig *r = mem_zero(1, sizeof(*r));

    r->is_root = geteuid() == 0;
    r->state = scratch_new();
    r->dir = mem_printf("%s/session", r->state);
    r->life_fd = -1;
    make_dir(r, "", r->is_root ? 0710 : 0700, 0, RUNNER_UID);
    make_dir(r, "/agent", 0700, AGENT_UID, RUNNER_UID);
    make_dir(r, "/agent/tmp", 0700, AGENT_UID, RUNNER_UID);
    make_dir(r, "/ipc", 0755, AGENT_UID, RUNNER_UID);
    make_dir(r, "/bundle", 0755, AGENT_UID, RUNNER_UID);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    if (r->pid > 0) {
        kill(r->pid, SIGTERM);
        waitpid(r->pid, NULL, 0);
    }
    if (r->life_fd >= 0)
        close(r->life_fd);
    scratch_remove(r->state);
    free(r->dir);
    free(r);
    return 0;
}

/* Start the keeper on a script; more: further flags, NULL-terminated. */
static void run(struct rig *r, const char *script, const char *const *more)
{
    own_mem char *spec = mem_printf("%s/agent/spec.json", r->dir);
    own_fd int key = memfd_create("key", 0);
    const char *argv[32] = {keeper_path, "--dir",  r->dir,   "--agent",
                            self_path,   "--shim", shim_path};
    int n = 7, life[2];

    put_file(spec, script, AGENT_UID);
    assert_return_code(pipe(life), errno);
    if (r->is_root) {
        argv[n++] = "--agent-uid";
        argv[n++] = "71001";
        argv[n++] = "--runner-uid";
        argv[n++] = "71002";
    }
    while (more && *more)
        argv[n++] = *more++;
    r->start_us = now_us();
    r->pid = fork();
    if (r->pid == 0) {
        char *const none[] = {NULL};
        int a = dup(key), b = dup(life[0]);

        close(life[1]);
        dup2(fcntl(a, F_DUPFD, 20), 3);
        dup2(fcntl(b, F_DUPFD, 20), 4);
        setsid();
        execve(keeper_path, (char *const *)argv, none);
        _exit(99);
    }
    close(life[0]);
    r->life_fd = life[1];
}

static int end(struct rig *r)
{
    int64_t until = now_us() + PATIENCE_MS * 1000;
    int status = 0;
    pid_t got;

    while ((got = waitpid(r->pid, &status, WNOHANG)) == 0 && now_us() < until)
        usleep(500);
    if (got == 0)
        fail_msg("the keeper does not end");
    r->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *read_file(struct rig *r, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", r->dir, name);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *out = mem_zero(16385, 1);

    if (fd >= 0 && read(fd, out, 16384) < 0)
        out[0] = 0;
    return out;
}

/* Wait until the terminal has shown it. */
static void shows(struct rig *r, const char *what)
{
    int64_t until = now_us() + PATIENCE_MS * 1000;
    own_mem char *text = NULL;

    do {
        free(text);
        usleep(1000);
        text = read_file(r, "agent/end.json");
    } while (!strstr(text, what) && now_us() < until);
    if (!strstr(text, what))
        fail_msg("the terminal does not show \"%s\" but: %s", what, text);
}

/* A living process whose command line is exactly that (words joined by
 * blanks); 0 when there is none. */
static pid_t find(const char *line)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    pid_t found = 0;

    while (!found && (de = readdir(d))) {
        char path[300], text[512] = "";
        own_fd int fd = -1;
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%s/cmdline", de->d_name);
        fd = atoi(de->d_name) > 1 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        for (ssize_t i = 0; i + 1 < n; i++)
            if (!text[i])
                text[i] = ' ';
        if (n > 0 && strcmp(text, line) == 0)
            found = atoi(de->d_name);
    }
    closedir(d);
    return found;
}

static void gone(const char *line)
{
    int64_t until = now_us() + PATIENCE_MS * 1000;

    while (find(line) && now_us() < until)
        usleep(1000);
    if (find(line))
        fail_msg("still there: %s", line);
}

/* The only child of a process. */
static pid_t child_of(pid_t pid, const char *name)
{
    own_mem char *cmd = mem_printf("pgrep -P %d -f '%s'", (int)pid, name);
    FILE *f = popen(cmd, "r");
    int out = 0;

    if (fscanf(f, "%d", &out) != 1)
        out = 0;
    pclose(f);
    return out;
}

/* A child that left its session and ignores what can be ignored; the script
 * goes on when it is there. */
#define STRAYS(n)                                                              \
    "(setsid sh -c 'trap \"\" HUP TERM INT; : >/tmp/up; "                      \
    "while :; do sleep " n "; done' </dev/null >/dev/null 2>&1 &); "           \
    "until [ -e /tmp/up ]; do sleep 0.01; done; "

static void expect_runner(struct rig *r, const char *want)
{
    own_mem char *text = read_file(r, "runner.json");

    assert_string_equal(text, want);
}

static void a_session_runs_to_its_end(void **state)
{
    struct rig *r = *state;
    own_mem char *text = NULL, *id = NULL;
    int pid = 0;

    run(r, "pwd; whoami; hostname; echo $HOME; tty", NULL);
    pid = r->pid;
    assert_int_equal(end(r), 0);
    text = read_file(r, "agent/end.json");
    assert_string_equal(text,
                        "/\r\nuser\r\nrunner\r\n/home/user\r\n/dev/pts/0\r\n");
    expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
    free(text);
    text = read_file(r, "keeper.json");
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

static void put_self_in_bundle(struct rig *r)
{
    own_mem char *cmd = mem_printf("cp %s %s/bundle/hostile && chmod 0755 "
                                   "%s/bundle/hostile",
                                   self_path, r->dir, r->dir);

    assert_int_equal(system(cmd), 0);
}

static void a_hostile_program_sees_nothing_of_the_host(void **state)
{
    struct rig *r = *state;
    own_mem char *script = NULL, *text = NULL;
    uint16_t port;
    char name[32];
    own_fd int tcp = host_port(&port), un = host_name(name);

    (void)tcp;
    (void)un;
    put_self_in_bundle(r);
    script = mem_printf("HOST_STATE=%s\nHOST_PORT=%u\nHOST_NAME=%s\n"
                        "ASAN_OPTIONS=detect_leaks=0\n"
                        "exec /run/podterm/bundle/hostile --hostile",
                        r->dir, port, name);
    run(r, script, NULL);
    assert_int_equal(end(r), 0);
    text = read_file(r, "agent/end.json");
    if (strstr(text, "BAD") || !strstr(text, "TRIED"))
        fail_msg("%s", text);
    expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
}

static void double_forked_children_die_with_the_session(void **state)
{
    struct rig *r = *state;

    run(r, STRAYS("4301") "echo last", NULL);
    assert_int_equal(end(r), 0);
    gone("sleep 4301");
    shows(r, "last");
}

static void sigterm_ends_all_in_time(void **state)
{
    struct rig *r = *state;
    int64_t from;

    run(r, "#stay\n" STRAYS("4302") "trap '' TERM HUP; echo up; sleep 4303",
        NULL);
    shows(r, "up");
    from = now_us();
    kill(r->pid, SIGTERM);
    assert_int_equal(end(r), 0);
    assert_true(now_us() - from < 2500000);
    gone("sleep 4302");
    gone("sleep 4303");
    expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void the_end_of_the_life_pipe_ends_all(void **state)
{
    static const char *const more[] = {"--life", NULL};
    struct rig *r = *state;

    run(r, "#stay\n" STRAYS("4304") "echo up; sleep 4305", more);
    shows(r, "up");
    close(r->life_fd);
    r->life_fd = -1;
    assert_int_equal(end(r), 0);
    gone("sleep 4304");
    gone("sleep 4305");
}

static void without_life_the_pipe_means_nothing(void **state)
{
    struct rig *r = *state;

    run(r, "echo up; sleep 0.3; echo done", NULL);
    shows(r, "up");
    close(r->life_fd);
    r->life_fd = -1;
    assert_int_equal(end(r), 0);
    shows(r, "done");
}

/* Gone, or a zombie that its new parent has not collected yet. */
static bool is_empty(const char *path)
{
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char c;

    return fd < 0 || read(fd, &c, 1) <= 0;
}

static void killing_the_keeper_leaves_nothing(void **state)
{
    struct rig *r = *state;
    own_mem char *cmdline = NULL;
    pid_t pid;

    run(r, "#stay\n" STRAYS("4306") "echo up; sleep 4307", NULL);
    shows(r, "up");
    pid = child_of(r->pid, "podterm-agent");
    assert_true(pid > 0);
    kill(r->pid, SIGKILL);
    assert_int_equal(end(r), 128 + SIGKILL);
    gone("sleep 4306");
    gone("sleep 4307");
    cmdline = mem_printf("/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < PATIENCE_MS && !is_empty(cmdline); i++)
        usleep(1000);
    assert_true(is_empty(cmdline));
}

static void killing_bubblewrap_ends_all(void **state)
{
    struct rig *r = *state;

    run(r, "#stay\n" STRAYS("4308") "echo up; sleep 4309", NULL);
    shows(r, "up");
    kill(child_of(r->pid, "^bwrap"), SIGKILL);
    assert_int_equal(end(r), 0);
    gone("sleep 4308");
    gone("sleep 4309");
    expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void killing_the_shim_ends_all(void **state)
{
    struct rig *r = *state;
    pid_t bwrap;

    run(r, "#stay\n" STRAYS("4310") "echo up; sleep 4311", NULL);
    shows(r, "up");
    bwrap = child_of(r->pid, "^bwrap");
    kill(child_of(bwrap, "podterm/shim"), SIGKILL);
    assert_int_equal(end(r), 0);
    gone("sleep 4310");
    gone("sleep 4311");
    expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void killing_the_agent_ends_all(void **state)
{
    struct rig *r = *state;

    run(r, "#stay\n" STRAYS("4312") "echo up; sleep 4313", NULL);
    shows(r, "up");
    kill(child_of(r->pid, "podterm-agent"), SIGKILL);
    assert_int_equal(end(r), 0);
    gone("sleep 4312");
    gone("sleep 4313");
    expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void an_agent_that_leaves_takes_the_runner_along(void **state)
{
    struct rig *r = *state;

    run(r, "#go\nsleep 4314", NULL);
    assert_int_equal(end(r), 0);
    gone("sleep 4314");
}

/* --- isolation none: what has no cage is still ended as one --- */

static const char *const bare[] = {"--isolation", "none", NULL};

#define BARE_STRAYS(n)                                                         \
    "(setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep " n "; done' "   \
    "</dev/null >/dev/null 2>&1 &); until pgrep -fx 'sleep " n                 \
    "' >/dev/null; "                                                           \
    "do sleep 0.01; done; "

static struct rig *bare_rig(void **state, const char *script)
{
    struct rig *r = *state;

    if (r->is_root) /* refused: see bad_settings_are_told */
        skip();
    run(r, script, bare);
    return r;
}

static void bare_a_session_runs_to_its_end(void **state)
{
    struct rig *r = bare_rig(state, BARE_STRAYS("4321") "echo last");

    assert_int_equal(end(r), 0);
    shows(r, "last\r\n");
    gone("sleep 4321");
    expect_runner(r, "{\"status\":\"exited\",\"value\":0}\n");
}

static void bare_sigterm_ends_all(void **state)
{
    struct rig *r = bare_rig(state, "#stay\n" BARE_STRAYS("4322") "echo up; "
                                                                  "sleep 4323");

    shows(r, "up");
    kill(r->pid, SIGTERM);
    assert_int_equal(end(r), 0);
    gone("sleep 4322");
    gone("sleep 4323");
    expect_runner(r, "{\"status\":\"exited\",\"value\":72}\n");
}

static void bare_killing_the_keeper_leaves_nothing(void **state)
{
    struct rig *r = bare_rig(state, "#stay\n" BARE_STRAYS("4324") "echo up; "
                                                                  "sleep 4325");

    shows(r, "up");
    kill(r->pid, SIGKILL);
    assert_int_equal(end(r), 128 + SIGKILL);
    gone("sleep 4324");
    gone("sleep 4325");
}

static void bare_killing_the_shim_leaves_nothing(void **state)
{
    struct rig *r = bare_rig(state, "#stay\n" BARE_STRAYS("4326") "echo up; "
                                                                  "sleep 4327");

    shows(r, "up");
    kill(child_of(r->pid, "^podterm-shim"), SIGKILL);
    assert_int_equal(end(r), 0);
    gone("sleep 4326");
    gone("sleep 4327");
    expect_runner(r, "{\"status\":\"signalled\",\"value\":9}\n");
}

static void scratch_space_has_a_size(void **state)
{
    static const char *const more[] = {
        "--tmp-bytes", "1048576", "--home-bytes", "2097152", "--shm-bytes",
        "1048576",     NULL};
    struct rig *r = *state;
    own_mem char *text = NULL;

    run(r,
        "for d in /tmp /home/user /dev/shm; do head -c 3000000 /dev/zero "
        ">$d/x 2>/dev/null; stat -c %s $d/x; done",
        more);
    assert_int_equal(end(r), 0);
    text = read_file(r, "agent/end.json");
    assert_string_equal(text, "1048576\r\n2097152\r\n1048576\r\n");
}

static void open_egress_shares_the_network(void **state)
{
    static const char *const more[] = {"--egress", "open", NULL};
    struct rig *r = *state;
    own_mem char *script = NULL;
    uint16_t port;
    own_fd int tcp = host_port(&port);

    (void)tcp;
    script = mem_printf("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/%u && echo "
                        "through'",
                        port);
    run(r, script, more);
    assert_int_equal(end(r), 0);
    shows(r, "through");
}

static void a_program_finds_what_it_needs(void **state)
{
    struct rig *r = *state;
    own_mem char *text = NULL;

    run(r,
        "id -un; id -gn; getent hosts localhost >/dev/null && echo hosts; "
        "test -r /etc/ssl/certs/ca-certificates.crt && echo roots; "
        "test -r /etc/os-release && echo release; awk 'BEGIN{print \"awk\"}'; "
        "python3 -c 'import ssl,tempfile;print(tempfile.gettempdir())'; "
        "tput cols >/dev/null && echo tput; mktemp -p /var/tmp >/dev/null && "
        "echo vartmp; ls /etc | tr '\\n' ' '",
        NULL);
    assert_int_equal(end(r), 0);
    text = read_file(r, "agent/end.json");
    if (!strstr(text, "user\r\nuser\r\nhosts\r\nroots\r\nrelease\r\nawk\r\n"
                      "/tmp\r\n"))
        fail_msg("%s", text);
    assert_non_null(strstr(text, "vartmp"));
}

static void the_start_is_quick(void **state)
{
    struct rig *r = *state;
    own_mem char *text = NULL;
    long long at;

    run(r, "true", NULL);
    assert_int_equal(end(r), 0);
    text = read_file(r, "agent/status.json");
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

static void a_directory_that_is_gone_ends_it_at_once(void **state)
{
    struct rig *r = *state;
    own_mem char *spec = mem_printf("%s/agent/spec.json", r->dir);
    own_mem char *away = mem_printf("%s/away", r->state);

    put_file(spec, "true", AGENT_UID);
    unlink(spec);
    assert_return_code(rename(r->dir, away), errno);
    r->pid = fork();
    if (r->pid == 0) {
        execl(keeper_path, keeper_path, "--dir", r->dir, "--agent", self_path,
              "--shim", shim_path, r->is_root ? "--agent-uid" : NULL, "71001",
              "--runner-uid", "71002", NULL);
        _exit(99);
    }
    assert_int_equal(end(r), 1);
}

/* All of this once more as an ordinary user, in a process of its own. */
static void all_of_it_holds_for_an_ordinary_user_too(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setresgid(ORDINARY, ORDINARY, ORDINARY) ||
            setresuid(ORDINARY, ORDINARY, ORDINARY))
            _exit(97);
        if (access(self_path, X_OK) < 0)
            _exit(98);
        execl(self_path, self_path, NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 98) {
        print_message("%s: an ordinary user cannot come here\n", self_path);
        skip();
    }
    assert_int_equal(status, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_session_runs_to_its_end),
        T(a_hostile_program_sees_nothing_of_the_host),
        T(double_forked_children_die_with_the_session),
        T(sigterm_ends_all_in_time),
        T(the_end_of_the_life_pipe_ends_all),
        T(without_life_the_pipe_means_nothing),
        T(killing_the_keeper_leaves_nothing),
        T(killing_bubblewrap_ends_all),
        T(killing_the_shim_ends_all),
        T(killing_the_agent_ends_all),
        T(an_agent_that_leaves_takes_the_runner_along),
        T(bare_a_session_runs_to_its_end),
        T(bare_sigterm_ends_all),
        T(bare_killing_the_keeper_leaves_nothing),
        T(bare_killing_the_shim_leaves_nothing),
        T(scratch_space_has_a_size),
        T(open_egress_shares_the_network),
        T(a_program_finds_what_it_needs),
        T(the_start_is_quick),
        T(the_probe_really_tries),
        T(bad_settings_are_told),
        T(a_directory_that_is_gone_ends_it_at_once),
        T(all_of_it_holds_for_an_ordinary_user_too),
    };
    char self[4096];
    ssize_t n;

    if (argc > 1 && strcmp(argv[1], "--spec") == 0)
        return fake_agent_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--hostile") == 0)
        return hostile_main();
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self_path = mem_strn(self, (size_t)n);
    keeper_path = program_path("podterm-keeper");
    shim_path = program_path("podterm-shim");
    n = cmocka_run_group_tests(tests, NULL, NULL);
    free(self_path);
    free(keeper_path);
    free(shim_path);
    return (int)n;
}
