#include "tests/lib/stack.h"

#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "gateway/wsframe.h"
#include "tests/lib/ports.h"
#include "tests/lib/programs.h"
#include "tests/lib/stackproc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define STACK_ARGS_MAX 40

extern char **environ;

/* --- processes --- */

int stack_pids(const struct stack *s, const char *name, const char *flag,
               pid_t *out, int cap)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    int n = 0;

    while ((de = readdir(d)) && n < cap) {
        char text[8192], *first;
        pid_t pid = (pid_t)atoi(de->d_name);

        if (pid <= 0 || pid == s->pid ||
            !stackproc_cmdline(pid, text, sizeof(text)))
            continue;
        if (!strstr(text, s->dir) || (flag && !strstr(text, flag)))
            continue;
        first = strtok(text, " ");
        if (name && (!first || !strstr(first, name)))
            continue;
        out[n++] = pid;
    }
    closedir(d);
    return n;
}

/* Has dev said this since it was started? */
static bool stack_logged(const struct stack *s, const char *text, int ms)
{
    int64_t until = loop_now_ms() + ms;

    do {
        static char buf[1 << 16];
        int fd = open(s->log_path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : pread(fd, buf, sizeof(buf) - 1, s->log_from);

        if (fd >= 0)
            close(fd);
        buf[n > 0 ? n : 0] = 0;
        if (strstr(buf, text))
            return true;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            return false;
        poll(NULL, 0, 10);
    } while (loop_now_ms() < until);
    return false;
}

static void stack_show_log(const struct stack *s)
{
    char cmd[512];

    snprintf(cmd, sizeof(cmd), "tail -n 40 %s %s/state/log/* >&2", s->log_path,
             s->dir);
    if (system(cmd) != 0)
        print_message("no log at %s\n", s->log_path);
}

/* As root every stack has uids of its own: a controller ends whatever runs
 * under one of its uids, and tests run side by side. */
static void stack_choose_uids(void)
{
    own_mem char *first =
        mem_printf("%ld", 1000000 + getpid() % 100000 * 5000L);

    setenv("PODTERM_UID_FIRST", first, 0);
}

void stack_start(struct stack *s)
{
    own_mem char *exe = program_path("podterm");
    char listen[64], attach[64], state[256], bundles[256];
    char *argv[STACK_ARGS_MAX] = {"podterm",         "dev",  "--listen", listen,
                                  "--attach-listen", attach, "--state",  state,
                                  "--bundle-root",   bundles};
    int n = 10, fds[3], log_fd, fd;
    struct proc_spawn how = {.path = exe,
                             .argv = argv,
                             .envp = environ,
                             .fds = fds,
                             .fd_count = 3,
                             .death_signal = SIGTERM};
    struct err e = {0};

    snprintf(listen, sizeof(listen), "127.0.0.1:%d", s->port);
    snprintf(attach, sizeof(attach), "127.0.0.1:%d", s->attach_port);
    snprintf(state, sizeof(state), "%s/state", s->dir);
    snprintf(bundles, sizeof(bundles), "%s/bundles", s->dir);
    for (char *const *more = s->more; more && *more; more++)
        argv[n++] = *more;
    log_fd = open(s->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    fds[0] = -1;
    fds[1] = fds[2] = log_fd;
    s->log_from = lseek(log_fd, 0, SEEK_END);
    fd = proc_spawn(&how, &s->pid, &e);
    close(log_fd);
    if (fd < 0)
        fail_msg("start dev: %s", e.text);
    close(fd);
    if (!stack_logged(s, "podterm is ready at", STACK_READY_MS)) {
        stack_show_log(s);
        fail_msg("podterm dev is not ready (log: %s)", s->log_path);
    }
}

struct stack *stack_new(const char *const *more)
{
    struct stack *s = mem_zero(1, sizeof(*s));
    own_mem char *bundles = NULL;

    stack_choose_uids();
    /* the page may be there or not, or be built meanwhile */
    setenv("PODTERM_WEB_DIR", "", 0);
    s->dir = scratch_new();
    s->log_path = mem_printf("%s/dev.log", s->dir);
    s->port = port_free();
    s->attach_port = port_free();
    s->more = (char *const *)more;
    bundles = mem_printf("%s/bundles", s->dir);
    assert_int_equal(mkdir(bundles, 0755), 0);
    stack_start(s);
    return s;
}

void stack_kill(struct stack *s)
{
    kill(s->pid, SIGKILL);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

void stack_wait_api(const struct stack *s, int ms)
{
    int64_t until = loop_now_ms() + ms;

    for (;;) {
        struct rest_answer a = rest_call(s->port, "GET", "/readyz", NULL, NULL);
        int status = a.status;

        rest_fini(&a);
        if (status == 200)
            return;
        if (loop_now_ms() > until) {
            stack_show_log(s);
            stackproc_show(s);
            fail_msg("the controller is not back after %d ms: %d", ms, status);
        }
        poll(NULL, 0, 10);
    }
}

static void stack_no_directory_left(const struct stack *s)
{
    own_mem char *path = mem_printf("%s/state/sessions", s->dir);
    DIR *d = opendir(path);
    struct dirent *de;

    while (d && (de = readdir(d)))
        if (de->d_name[0] != '.')
            fail_msg("session directory %s/%s is left", path, de->d_name);
    if (d)
        closedir(d);
}

void stack_free(struct stack *s)
{
    int64_t until = loop_now_ms() + STACK_STOP_MS;
    int status;

    if (!s)
        return;
    kill(s->pid, SIGTERM);
    while (waitpid(s->pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() > until) {
            kill(s->pid, SIGKILL);
            waitpid(s->pid, &status, 0);
            fail_msg("podterm dev did not leave within %d ms (log: %s)",
                     STACK_STOP_MS, s->log_path);
        }
        poll(NULL, 0, 10);
    }
    stackproc_wait_none(s, NULL, 0);
    stack_no_directory_left(s);
    scratch_remove(s->dir);
    free(s->log_path);
    free(s);
}

/* --- REST --- */

static char *stack_signed(const struct stack *s, const char *who)
{
    own_mem char *token = s->identity(s, who);

    return mem_printf("Authorization: Bearer %s\r\n", token);
}

char *stack_identity(struct stack *s, const char *who)
{
    own_mem char *path = mem_printf("/dev/token?sub=%s", who);
    struct err e = {0};
    struct rest_answer a;
    own_json struct json *j = NULL;
    char *out;

    if (s->identity)
        return stack_signed(s, who);
    a = rest_call(s->port, "GET", path, NULL, NULL);
    j = json_parse(a.body ? a.body : "", a.len, &e);
    if (a.status != 200 || !json_get_str(j, "id_token"))
        fail_msg("/dev/token: %d", a.status);
    out =
        mem_printf("Authorization: Bearer %s\r\n", json_get_str(j, "id_token"));
    rest_fini(&a);
    return out;
}

static struct json *stack_call(struct stack *s, const char *who,
                               const char *method, const char *path,
                               const char *body, int *status)
{
    own_mem char *id = stack_identity(s, who);
    own_mem char *head = mem_printf(
        "%s%s", id, body ? "Content-Type: application/json\r\n" : "");
    struct rest_answer a = rest_call(s->port, method, path, head, body);
    struct err e = {0};
    struct json *j = a.len ? json_parse(a.body, a.len, &e) : NULL;

    *status = a.status;
    rest_fini(&a);
    return j;
}

int stack_ask(struct stack *s, const char *identity,
              const struct stack_bundle *b, const char *more)
{
    own_mem char *head =
        mem_printf("%sContent-Type: application/json\r\n", identity);
    own_mem char *body =
        mem_printf("{\"bundle\":{\"url\":\"%s\",\"sha256\":\"%s\"},"
                   "\"cols\":80,\"rows\":24%s}",
                   b->url, b->sha256, more);

    return rest_ask(s->port, "POST", "/api/sessions", head, body);
}

void stack_created(const char *who, int fd, struct stack_session *out)
{
    struct rest_answer a = rest_hear(fd);
    struct err e = {0};
    own_json struct json *j = a.len ? json_parse(a.body, a.len, &e) : NULL;

    if (a.status != 201)
        fail_msg("create: %d %s", a.status, a.body ? a.body : "nothing");
    assert_non_null(j);
    rest_fini(&a);
    snprintf(out->sid, sizeof(out->sid), "%s", json_get_str(j, "id"));
    snprintf(out->who, sizeof(out->who), "%s", who);
    out->token = mem_str(json_get_str(j, "token"));
}

void stack_create(struct stack *s, const char *who,
                  const struct stack_bundle *b, const char *more,
                  struct stack_session *out)
{
    own_mem char *identity = stack_identity(s, who);

    stack_created(who, stack_ask(s, identity, b, more), out);
}

void stack_session_fini(struct stack_session *ss)
{
    free(ss->token);
    ss->token = NULL;
}

char *stack_token(struct stack *s, const char *who, const char *sid,
                  const char *role, int *status)
{
    own_mem char *path = mem_printf("/api/sessions/%s/token", sid);
    own_mem char *body = mem_printf("{\"role\":\"%s\"}", role);
    int got;
    own_json struct json *j = stack_call(s, who, "POST", path, body, &got);

    if (status)
        *status = got;
    if (got != 200 && got != 201)
        return NULL;
    return mem_str(json_get_str(j, "token"));
}

struct json *stack_get(struct stack *s, const char *who, const char *sid)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);
    int status;
    struct json *j = stack_call(s, who, "GET", path, NULL, &status);

    assert_int_equal(status, 200);
    return j;
}

struct json *stack_wait(struct stack *s, const char *who, const char *sid,
                        const char *state, int ms)
{
    int64_t until = loop_now_ms() + ms;

    for (;;) {
        struct json *j = stack_get(s, who, sid);

        if (strcmp(json_get_str(j, "state"), state) == 0)
            return j;
        if (loop_now_ms() > until) {
            own_mem char *text = json_text(j);

            stack_show_log(s);
            fail_msg("not %s after %d ms: %s", state, ms, text);
        }
        json_free(j);
        poll(NULL, 0, 20);
    }
}

int stack_delete(struct stack *s, const char *who, const char *sid)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);
    int status;

    json_free(stack_call(s, who, "DELETE", path, NULL, &status));
    return status;
}

int stack_viewers(struct stack *s, const char *who, const char *sid,
                  const char *list, struct json **out)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);
    own_mem char *body = mem_printf("{\"viewers\":%s}", list);
    int status;
    struct json *j = stack_call(s, who, "PATCH", path, body, &status);

    if (out)
        *out = j;
    else
        json_free(j);
    return status;
}

/* --- attachments --- */

static void stack_take_ready(struct stack_link *l, const uint8_t *text,
                             size_t len)
{
    struct err e = {0};
    own_json struct json *j = json_parse(text, len, &e);
    int64_t v;

    assert_non_null(j);
    assert_int_equal(json_get_int(j, "output_from", &v), 0);
    l->output = (uint64_t)v;
    assert_int_equal(json_get_int(j, "input_received", &v), 0);
    l->input_acked = (uint64_t)v;
    assert_int_equal(json_get_int(j, "window", &v), 0);
    l->window = (uint64_t)v;
    assert_int_equal(json_get_int(j, "input_window", &v), 0);
    l->input_window = (uint64_t)v;
}

static void stack_take_json(struct stack_link *l, uint8_t type,
                            const uint8_t *text, size_t len)
{
    struct err e = {0};
    own_json struct json *j = json_parse(text, len, &e);
    int64_t v;

    assert_non_null(j);
    if (type == FRAME_STAGE) {
        snprintf(l->last_stage, sizeof(l->last_stage), "%s",
                 json_get_str(j, "stage"));
        if (l->staged)
            l->staged(l->staged_arg, j);
    } else if (type == FRAME_ERROR) {
        snprintf(l->error, sizeof(l->error), "%s", json_get_str(j, "code"));
        snprintf(l->said, sizeof(l->said), "%s", json_get_str(j, "message"));
    } else if (type == FRAME_EXIT) {
        l->is_ended = true;
        l->exit_code = json_get_int(j, "code", &v) == 0 ? (int)v : -1;
        snprintf(l->reason, sizeof(l->reason), "%s", json_get_str(j, "reason"));
    }
}

bool stack_attach(struct stack *s, struct stack_link *l, const char *token,
                  int64_t from, int cols, int rows)
{
    char addr[64], host[64], hello[8192], where[64] = "", size[64] = "";
    struct wsmsg m;

    snprintf(addr, sizeof(addr), "127.0.0.1:%d", s->attach_port);
    snprintf(host, sizeof(host), "127.0.0.1:%d", s->attach_port);
    l->error[0] = 0;
    l->exit_code = -1;
    l->peer = wspeer_try_dial(addr);
    if (!l->peer)
        return false;
    if (!wspeer_try_upgrade(l->peer, host)) {
        stack_cut(l);
        return false;
    }
    if (from >= 0)
        snprintf(where, sizeof(where), ",\"output_from\":%lld",
                 (long long)from);
    if (cols)
        snprintf(size, sizeof(size), ",\"cols\":%d,\"rows\":%d", cols, rows);
    snprintf(hello, sizeof(hello), "{\"token\":\"%s\"%s%s}", token, where,
             size);
    wspeer_binary(l->peer, FRAME_HELLO, hello);
    while (wspeer_recv(l->peer, &m)) {
        if (m.opcode == WSFRAME_CLOSE)
            break; /* we need not wait until the other side gives up */
        if (m.opcode != 2 || m.len < 1)
            continue;
        if (m.bytes[0] == FRAME_READY) {
            stack_take_ready(l, m.bytes + 1, m.len - 1);
            return true;
        }
        if (m.bytes[0] == FRAME_STAGE || m.bytes[0] == FRAME_ERROR)
            stack_take_json(l, m.bytes[0], m.bytes + 1, m.len - 1);
    }
    wspeer_free(l->peer);
    l->peer = NULL;
    return false;
}

void stack_ack(struct stack_link *l)
{
    uint8_t msg[FRAME_HEAD_MAX];

    wspeer_send(l->peer, 2, msg,
                frame_head_offset(msg, FRAME_OUTPUT_ACK, l->output));
}

bool stack_pump(struct stack_link *l,
                void (*take)(void *arg, const uint8_t *p, size_t len),
                void *arg, bool ack)
{
    struct wsmsg m;
    struct frame f;

    if (!wspeer_recv(l->peer, &m))
        return false;
    if (m.opcode == WSFRAME_PING)
        wspeer_send(l->peer, WSFRAME_PONG, m.bytes, m.len);
    if (m.opcode == WSFRAME_PING || m.opcode == WSFRAME_PONG)
        return true;
    if (m.opcode != 2)
        return false;
    assert_int_equal(frame_parse(m.bytes, m.len, false, &f), 0);
    if (f.type == FRAME_OUTPUT) {
        assert_int_equal(f.offset, l->output);
        l->output += f.body_len;
        if (take)
            take(arg, f.body, f.body_len);
        if (ack)
            stack_ack(l);
    } else if (f.type == FRAME_INPUT_ACK) {
        l->input_acked = f.offset;
    } else if (f.type == FRAME_READY) {
        stack_take_ready(l, m.bytes + 1, m.len - 1);
    } else if (f.type == FRAME_STAGE || f.type == FRAME_ERROR ||
               f.type == FRAME_EXIT) {
        stack_take_json(l, f.type, m.bytes + 1, m.len - 1);
    }
    return true;
}

void stack_type(struct stack_link *l, uint64_t offset, const void *bytes,
                size_t len)
{
    uint8_t *msg = mem_zero(FRAME_HEAD_MAX + len, 1);
    size_t head = frame_head_offset(msg, FRAME_INPUT, offset);

    memcpy(msg + head, bytes, len);
    wspeer_send(l->peer, 2, msg, head + len);
    free(msg);
}

void stack_cut(struct stack_link *l)
{
    if (l->peer)
        wspeer_reset(l->peer);
    l->peer = NULL;
}
