#include "tests/lib/gwbench.h"

#include "base/addr.h"
#include "base/frame.h"
#include "base/mem.h"
#include "base/seal.h"
#include "gateway/wsframe.h"
#include "tests/lib/forge.h"
#include "tests/lib/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 80

struct bench *bench;

static void sleep_ms(int ms)
{
    poll(NULL, 0, ms);
}

static void file_write(const char *path, const void *bytes, size_t len,
                       int mode)
{
    char *fresh = mem_printf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert_return_code(fd, errno);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
    assert_return_code(rename(fresh, path), errno);
    free(fresh);
}

static int find_key(void *arg, const uint8_t *id, size_t id_len,
                    uint8_t key[32], uint64_t *tag)
{
    struct bench *b = arg;

    (void)id;
    *tag = 1;
    memcpy(key, b->agent_key, 32);
    return id_len == ID_LEN ? 0 : -1;
}

static void agent_listen(struct bench *b)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    struct err e = {0};

    assert_return_code(addr_parse("127.0.0.1:0", &addr, &e), 0);
    b->agent_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(
        bind(b->agent_fd, (struct sockaddr *)&addr, addr_len(&addr)), errno);
    assert_return_code(listen(b->agent_fd, 1024), errno);
    getsockname(b->agent_fd, (struct sockaddr *)&addr, &len);
    addr_text((struct sockaddr *)&addr, b->agent_addr);
    b->agent_ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(b->agent_ctx);
    assert_int_equal(tls_psk_server_setup(b->agent_ctx, find_key, b), 0);
}

struct bench *bench_new(void)
{
    static struct token_signer *signer;
    struct bench *b = mem_zero(1, sizeof(*b));
    struct err e = {0};
    char *path, *jwks;

    seal_init();
    if (!signer)
        signer = token_signer_make(NULL, &e);
    assert_non_null(signer);
    b->signer = signer;
    b->dir = scratch_new();
    random_bytes(b->seal_key, sizeof(b->seal_key));
    random_bytes(b->agent_key, sizeof(b->agent_key));
    path = mem_printf("%s/seal", b->dir);
    file_write(path, b->seal_key, 32, 0600);
    free(path);
    path = mem_printf("%s/jwks.json", b->dir);
    jwks = forge_jwks(signer, NULL);
    file_write(path, jwks, strlen(jwks), 0644);
    free(jwks);
    free(path);
    path = mem_printf("%s/podterm.db", b->dir);
    b->store = store_sqlite_open(path, &e);
    if (!b->store)
        fail_msg("%s", e.text);
    free(path);
    b->log_path = mem_printf("%s/log", b->dir);
    agent_listen(b);
    return b;
}

/* --- the process --- */

static bool is_said(const char *const *more, const char *flag)
{
    for (; more && *more; more++)
        if (strncmp(*more, flag, strlen(flag)) == 0)
            return true;
    return false;
}

static void exec_gateway(struct bench *b, const char *const *more)
{
    char *argv[ARGS_MAX] = {program_path("podterm-gateway")};
    int n = 1, fd = open(b->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    argv[n++] = mem_printf("--store=%s/podterm.db", b->dir);
    argv[n++] = mem_printf("--seal-key-file=%s/seal", b->dir);
    if (!is_said(more, "--jwks-url="))
        argv[n++] = mem_printf("--jwks-file=%s/jwks.json", b->dir);
    argv[n++] = mem_str("--issuer=" BENCH_ISS);
    argv[n++] = mem_str("--audience=" BENCH_AUD);
    if (!more || !more[0] || strncmp(more[0], "--listen=", 9) != 0)
        argv[n++] = mem_str("--listen=127.0.0.1:0");
    for (int i = 0; more && more[i] && n < ARGS_MAX - 2; i++)
        argv[n++] = mem_str(more[i]);
    setenv("PODTERM_AGENT_CIDRS", "127.0.0.1/32", 0);
    dup2(fd, 2);
    execv(argv[0], argv);
    _exit(127);
}

static char *log_text(struct bench *b)
{
    char *text = mem_zero(1u << 20, 1);
    FILE *f = fopen(b->log_path, "r");

    if (f) {
        text[fread(text, 1, (1u << 20) - 1, f)] = 0;
        fclose(f);
    }
    return text;
}

bool bench_logged(struct bench *b, const char *want, int ms)
{
    for (int waited = 0;; waited += 10) {
        char *text = log_text(b);
        bool has = strstr(text, want) != NULL;

        free(text);
        if (has || waited >= ms)
            return has;
        sleep_ms(10);
    }
}

void bench_start(struct bench *b, const char *const *more)
{
    char *text, *at;

    unlink(b->log_path);
    b->pid = fork();
    if (b->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        exec_gateway(b, more);
    }
    assert_true(b->pid > 0);
    if (!bench_logged(b, "\"ev\":\"gateway.ready\"", 10000)) {
        text = log_text(b);
        fail_msg("the gateway did not start: %s", text);
    }
    text = log_text(b);
    at = strstr(text, "\"addr\":\"");
    assert_non_null(at);
    snprintf(b->addr, sizeof(b->addr), "%.*s", (int)strcspn(at + 8, "\""),
             at + 8);
    free(text);
}

bool bench_listens(const struct bench *b)
{
    struct sockaddr_storage addr;
    struct err e = {0};
    int fd, rc;

    assert_return_code(addr_parse(b->addr, &addr, &e), 0);
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rc = connect(fd, (struct sockaddr *)&addr, addr_len(&addr));
    close(fd);
    return rc == 0;
}

int bench_wait(struct bench *b, int ms)
{
    int status;

    for (int waited = 0; waited <= ms; waited += 10) {
        if (waitpid(b->pid, &status, WNOHANG) == b->pid) {
            b->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        }
        sleep_ms(10);
    }
    return -1;
}

int bench_stop(struct bench *b, int ms)
{
    kill(b->pid, SIGTERM);
    return bench_wait(b, ms);
}

bool bench_free(struct bench *b)
{
    bool is_well = true;
    char *text;

    if (!b)
        return true;
    if (b->pid > 0) {
        kill(b->pid, SIGTERM);
        poll(NULL, 0, 20); /* one signal would swallow the other */
        kill(b->pid, SIGTERM);
        if (bench_wait(b, 5000) < 0) {
            kill(b->pid, SIGKILL);
            waitpid(b->pid, NULL, 0);
            is_well = false;
        }
    }
    text = log_text(b);
    if (strstr(text, "Sanitizer") || strstr(text, "runtime error:"))
        is_well = false;
    if (!is_well)
        fprintf(stderr, "the gateway left badly: %s\n", text);
    free(text);
    store_free(b->store);
    SSL_CTX_free(b->agent_ctx);
    close(b->agent_fd);
    scratch_remove(b->dir);
    free(b->log_path);
    free(b);
    return is_well;
}

long bench_memory_kb(const struct bench *b)
{
    unsigned long pages = 0;
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)b->pid);
    f = fopen(path, "r");
    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (long)(pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

int64_t bench_cpu_us(const struct bench *b)
{
    char path[64];
    uint64_t ns = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)b->pid);
    f = fopen(path, "r");
    if (f && fscanf(f, "%lu", &ns) != 1)
        ns = 0;
    if (f)
        fclose(f);
    return (int64_t)(ns / 1000);
}

/* --- sessions --- */

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void bench_session(struct bench *b, enum session_state state, char sid[ID_SIZE])
{
    struct store_session *row = mem_zero(1, sizeof(*row));
    uint8_t hash[32] = {0};
    struct err e = {0};

    random_id(row->id);
    random_id(row->psk_id);
    memcpy(sid, row->id, ID_SIZE);
    snprintf(row->owner_iss, sizeof(row->owner_iss), "https://id.test");
    snprintf(row->owner_sub, sizeof(row->owner_sub), BENCH_OWNER);
    snprintf(row->bundle_sha256, sizeof(row->bundle_sha256), BENCH_BND);
    snprintf(row->bundle_url, sizeof(row->bundle_url), "https://b.test/x");
    row->state = state;
    row->created_ms = wall_ms();
    row->lifetime_s = 3600;
    if (state != STATE_PENDING)
        snprintf(row->agent_addr, sizeof(row->agent_addr), "%s", b->agent_addr);
    seal_bytes(b->seal_key, row->id, b->agent_key, 32, row->psk_sealed);
    if (store_create_checked(b->store, row, 100000, "", hash, NULL, 0,
                             time(NULL), &e) < 0)
        fail_msg("%s", e.text);
    free(row);
}

struct row_change {
    void (*change)(struct store_session *row, void *arg);
    void *arg;
};

static int row_change(void *arg, struct store_session *row, struct err *e)
{
    struct row_change *c = arg;

    (void)e;
    c->change(row, c->arg);
    return 0;
}

void bench_row(struct bench *b, const char *sid,
               void (*change)(struct store_session *row, void *arg), void *arg)
{
    struct store_session *out = mem_zero(1, sizeof(*out));
    struct row_change c = {change, arg};
    struct err e = {0};

    if (store_update_if(b->store, sid, row_change, &c, out, &e) < 0)
        fail_msg("%s", e.text);
    free(out);
}

static void set_address(struct store_session *row, void *arg)
{
    row->state = STATE_STARTING;
    snprintf(row->agent_addr, sizeof(row->agent_addr), "%s", (const char *)arg);
}

void bench_address(struct bench *b, const char *sid, const char *addr)
{
    bench_row(b, sid, set_address, (void *)addr);
}

static void set_ended(struct store_session *row, void *arg)
{
    (void)arg;
    row->state = STATE_ENDED;
    row->reason = REASON_EXITED;
    row->has_exit = true;
    row->exit_code = 7;
    row->output_bytes = 1234;
    snprintf(row->detail, sizeof(row->detail), "It was done.");
    row->ended_ms = row->created_ms + 1;
}

void bench_end(struct bench *b, const char *sid)
{
    bench_row(b, sid, set_ended, NULL);
}

struct session_claims bench_claims(const char *sid, enum role role)
{
    struct session_claims c = {.role = role};

    snprintf(c.iss, sizeof(c.iss), BENCH_ISS);
    snprintf(c.aud, sizeof(c.aud), BENCH_AUD);
    snprintf(c.sub, sizeof(c.sub), BENCH_OWNER);
    snprintf(c.sid, sizeof(c.sid), "%s", sid);
    snprintf(c.bnd, sizeof(c.bnd), BENCH_BND);
    random_id(c.jti);
    c.iat = c.nbf = time(NULL);
    c.exp = c.iat + TOKEN_LIFE_S;
    return c;
}

char *bench_token(struct bench *b, const struct session_claims *c)
{
    struct err e = {0};
    char *token = session_token_sign(b->signer, c, &e);

    if (!token)
        fail_msg("%s", e.text);
    return token;
}

char *bench_hello(struct bench *b, const char *sid)
{
    struct session_claims c = bench_claims(sid, ROLE_OWNER);
    char *token = bench_token(b, &c);
    char *hello = mem_printf("{\"token\":\"%s\",\"cols\":80,\"rows\":24,"
                             "\"output_from\":0}",
                             token);

    free(token);
    return hello;
}

/* --- both ends --- */

struct wspeer *bench_attach(struct bench *b, const char *sid)
{
    struct wspeer *c = wspeer_dial(b->addr, NULL);
    char *hello = bench_hello(b, sid);

    wspeer_upgrade(c, b->addr, "");
    wspeer_binary(c, FRAME_HELLO, hello);
    free(hello);
    return c;
}

struct wspeer *bench_accept_tcp(struct bench *b, int ms)
{
    struct pollfd pfd = {.fd = b->agent_fd, .events = POLLIN};
    struct wspeer *a;

    if (poll(&pfd, 1, ms) <= 0)
        return NULL;
    a = wspeer_of(accept4(b->agent_fd, NULL, NULL, SOCK_CLOEXEC));
    a->is_agent = true;
    return a;
}

struct wspeer *bench_accept(struct bench *b, char **hello)
{
    struct wspeer *a = bench_accept_tcp(b, WSPEER_MS);
    struct wsmsg m;

    if (!a)
        fail_msg("the gateway did not dial the agent");
    a->tls = tls_accept(b->agent_ctx, a->fd);
    assert_true(wspeer_shake(a));
    wspeer_answer(a);
    assert_true(wspeer_recv(a, &m));
    assert_int_equal(m.opcode, WSFRAME_BINARY);
    assert_int_equal(m.bytes[0], FRAME_HELLO);
    if (hello)
        *hello = mem_strn((char *)m.bytes + 1, m.len - 1);
    return a;
}

struct wspeer *bench_open(struct bench *b, const char *sid,
                          struct wspeer **agent)
{
    struct wspeer *c = bench_attach(b, sid);

    *agent = bench_accept(b, NULL);
    return c;
}

int bench_setup(void **state)
{
    (void)state;
    bench = bench_new();
    return 0;
}

int bench_teardown(void **state)
{
    struct bench *mine = bench;

    (void)state;
    bench = NULL;
    return bench_free(mine) ? 0 : -1;
}

void bench_run(const char *a1, const char *a2, const char *a3)
{
    const char *const args[] = {a1, a2, a3, NULL};

    bench_start(bench, args);
    /* (before that it says it has no keys yet) */
    assert_true(bench_logged(bench, "\"ev\":\"keyset.loaded\"", 10000));
}

struct wspeer *bench_pair(struct wspeer **agent, char sid[ID_SIZE])
{
    bench_session(bench, STATE_RUNNING, sid);
    return bench_open(bench, sid, agent);
}

struct wspeer *bench_client(void)
{
    struct wspeer *c = wspeer_dial(bench->addr, NULL);

    wspeer_upgrade(c, bench->addr, "");
    return c;
}

void bench_attach_token(struct wspeer *c, const char *token)
{
    char *hello = mem_printf("{\"token\":\"%s\"}", token);

    wspeer_binary(c, FRAME_HELLO, hello);
    free(hello);
}

char *bench_refused(const struct session_claims *claims, const char *word,
                    int code)
{
    struct wspeer *c = bench_client();
    char *token = bench_token(bench, claims), *text;

    bench_attach_token(c, token);
    text = wspeer_refused(c, word, code);
    wspeer_free(c);
    free(token);
    return text;
}
