#include "tests/lib/agentbox.h"

#include "base/digest.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/proc.h"
#include "tests/lib/forge.h"
#include "tests/lib/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ISSUER AGENTBOX_ISSUER
#define INSTALLATION AGENTBOX_INSTALLATION
#define FILE_MAX 65536

extern char **environ;

/* One key for all: making one takes longer than starting an agent. */
static struct token_signer *the_signer;

/* --- files --- */

static char *agentbox_read(const struct agentbox *b, const char *name)
{
    own_mem char *path = mem_printf("%s/%s", b->dir, name);
    own_mem char *text = mem_zero(FILE_MAX + 1, 1);
    own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, FILE_MAX) <= 0)
        return NULL;
    return own_mem_give(&text);
}

static struct json *agentbox_read_json(const struct agentbox *b,
                                       const char *name)
{
    own_mem char *text = agentbox_read(b, name);
    struct err e;

    return text ? json_parse(text, strlen(text), &e) : NULL;
}

static void agentbox_write(const struct agentbox *b, const char *name,
                           const char *text, mode_t mode)
{
    own_mem char *path = mem_printf("%s/%s", b->dir, name);
    own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
}

static void agentbox_mkdir(const struct agentbox *b, const char *name,
                           mode_t mode)
{
    own_mem char *path = mem_printf("%s/%s", b->dir, name);

    assert_int_equal(mkdir(path, mode), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* --- bundle and spec --- */

static void agentbox_pack(struct agentbox *b, const char *script)
{
    own_mem char *text = mem_printf("#!/bin/sh\n%s\n", script);
    own_mem char *tar =
        mem_printf("tar -C %s/src -czf %s/bundles/b.tar.gz .", b->dir, b->dir);
    own_mem char *archive = NULL;
    uint8_t sum[SHA256_BYTES];
    own_mem char *path = mem_printf("%s/bundles/b.tar.gz", b->dir);
    own_fd int fd = -1;
    struct stat st;

    agentbox_mkdir(b, "src", 0755);
    agentbox_mkdir(b, "src/bin", 0755);
    agentbox_mkdir(b, "bundles", 0755);
    agentbox_write(b, "src/bin/prog", text, 0755);
    assert_int_equal(system(tar), 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    archive = mem_zero((size_t)st.st_size, 1);
    assert_int_equal(read(fd, archive, (size_t)st.st_size), st.st_size);
    sha256(archive, (size_t)st.st_size, sum);
    hex_encode(sum, sizeof(sum), b->sha256);
}

static void agentbox_lay_over(struct json *to, const struct json *over)
{
    for (size_t i = 0; i < json_count(over); i++) {
        const struct json *m = json_at(over, i);
        const char *name = json_name(m);
        const struct json *old = json_get(to, name);
        struct json *copy = json_dup(m);

        if (json_is_object(m) && json_is_object(old)) {
            json_free(copy);
            copy = json_dup(old);
            agentbox_lay_over(copy, m);
        }
        json_set(to, name, copy);
    }
}

static void agentbox_spec(struct agentbox *b, const char *over)
{
    own_mem char *jwks = forge_jwks(b->signer, NULL);
    own_mem char *text = mem_printf(
        "{\"v\":1,\"sid\":\"%s\",\"created_ms\":%lld,\"psk_id\":\"%s\","
        "\"owner\":{\"iss\":\"https://idp.test\",\"sub\":\"alice\"},"
        "\"viewers\":[\"vera\",\"victor\"],\"viewer_history\":true,"
        "\"bundle\":{\"url\":\"file://%s/bundles/b.tar.gz\","
        "\"sha256\":\"%s\"},\"env\":{},\"cols\":80,\"rows\":24,"
        "\"lifetime_s\":3600,\"idle_s\":0,\"linger_s\":5,"
        "\"linger_detached_s\":5,\"hold_s\":300,\"attach_max_s\":3600,"
        "\"ring_bytes\":1048576,\"window_bytes\":262144,"
        "\"input_window_bytes\":65536,"
        "\"token\":{\"iss\":\"" ISSUER "\",\"aud\":\"" INSTALLATION "\","
        "\"skew_s\":30,\"jwks\":%s},"
        "\"fetch\":{\"domains\":\"\",\"allow_http\":true,"
        "\"allow_loopback\":true,\"file_root\":\"%s/bundles\","
        "\"deny_cidrs\":\"\",\"max_bytes\":1073741824,\"max_s\":60,"
        "\"min_bytes_s\":0,\"max_redirects\":5,"
        "\"public_cache_hosts\":\"\",\"signing_keys\":[]},"
        "\"unpack\":{\"max_entries\":1000,\"max_bytes\":1073741824,"
        "\"max_ratio\":1000,\"max_depth\":32,\"max_name\":1024},"
        "\"sandbox\":{\"v\":2,\"isolation\":\"none\",\"cage\":\"best\","
        "\"limits\":{\"nproc\":0,"
        "\"nofile\":0,\"data_bytes\":0,\"fsize_bytes\":0,\"cpu_s\":0}},"
        "\"network\":{\"v\":2,\"shared\":false,\"egress\":\"open\"}}",
        b->sid, (long long)loop_wall_ms(), b->psk_id, b->dir, b->sha256, jwks,
        b->dir);
    struct err e = {0};
    own_json struct json *spec = json_parse(text, strlen(text), &e);
    own_json struct json *more =
        over ? json_parse(over, strlen(over), &e) : NULL;
    own_mem char *out = NULL;

    if (!spec || (over && !more))
        fail_msg("spec: %s", e.text);
    agentbox_lay_over(spec, more);
    out = json_text(spec);
    agentbox_write(b, "agent/spec.json", out, 0600);
    b->spec = own_mem_give(&out);
}

/* --- processes --- */

const char *agentbox_listen = "127.0.0.1:0";

static pid_t agentbox_spawn(struct agentbox *b, const char *name, char **argv,
                            int key_fd)
{
    own_mem char *exe = program_path(name);
    own_mem char *log = mem_printf("%s/%s.log", b->dir, name);
    own_fd int log_fd =
        open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int fds[4] = {-1, log_fd, log_fd, key_fd};
    struct proc_spawn how = {.path = exe,
                             .argv = argv,
                             .envp = environ,
                             .fds = fds,
                             .fd_count = 4,
                             .death_signal = SIGKILL};
    struct err e = {0};
    pid_t pid;
    int fd = proc_spawn(&how, &pid, &e);

    if (fd < 0)
        fail_msg("start %s: %s", name, e.text);
    close(fd);
    return pid;
}

static void agentbox_start_agent(struct agentbox *b, const uint8_t *key)
{
    own_fd int key_fd = memfd_create("key", MFD_CLOEXEC);
    char uid[16];
    char *argv[] = {"podterm-agent",
                    "--spec",
                    mem_printf("%s/agent/spec.json", b->dir),
                    "--key-fd",
                    "3",
                    "--state-file",
                    mem_printf("%s/agent/agent.state", b->dir),
                    "--ipc-dir",
                    mem_printf("%s/ipc", b->dir),
                    "--bundle-dir",
                    mem_printf("%s/bundle", b->dir),
                    "--tmp-dir",
                    mem_printf("%s/agent/tmp", b->dir),
                    "--report",
                    mem_printf("%s/agent/end.json", b->dir),
                    "--status",
                    mem_printf("%s/agent/status.json", b->dir),
                    "--listen",
                    (char *)(uintptr_t)agentbox_listen,
                    "--runner-uid",
                    uid,
                    NULL};

    snprintf(uid, sizeof(uid), "%u", getuid());
    assert_int_equal(write(key_fd, key, sizeof(b->key)), sizeof(b->key));
    b->agent = agentbox_spawn(b, "podterm-agent", argv, key_fd);
    for (int i = 2; argv[i]; i++)
        if (argv[i][0] == '/')
            free(argv[i]);
}

void agentbox_start_shim(struct agentbox *b)
{
    own_mem char *ipc = mem_printf("%s/ipc", b->dir);
    char uid[16];
    char *argv[] = {"podterm-shim", ipc, uid, NULL};

    snprintf(uid, sizeof(uid), "%u", getuid());
    b->shim = agentbox_spawn(b, "podterm-shim", argv, -1);
}

static struct agentbox *agentbox_prepare(const char *script, const char *over)
{
    struct agentbox *b = mem_zero(1, sizeof(*b));
    struct err e = {0};

    seal_init();
    signal(SIGPIPE, SIG_IGN);
    b->dir = scratch_new();
    random_id(b->sid);
    random_id(b->psk_id);
    random_bytes(b->key, sizeof(b->key));
    if (!the_signer)
        the_signer = token_signer_make(NULL, &e);
    b->signer = the_signer;
    b->ctx = tls_psk_client_ctx(&e);
    assert_true(b->signer && b->ctx);
    agentbox_mkdir(b, "agent", 0700);
    agentbox_mkdir(b, "agent/tmp", 0700);
    agentbox_mkdir(b, "ipc", 0755);
    agentbox_mkdir(b, "bundle", 0755);
    agentbox_pack(b, script);
    agentbox_spec(b, over);
    agentbox_write(b, "agent/end.json", "", 0600);
    return b;
}

/* Until it listens. */
static struct agentbox *agentbox_begin(struct agentbox *b, const uint8_t *key)
{
    own_json struct json *status = NULL;

    agentbox_start_agent(b, key);
    if (!agentbox_status(b, NULL, AGENTBOX_MS)) {
        own_mem char *log = agentbox_read(b, "podterm-agent.log");

        agentbox_free(b);
        fail_msg("the agent does not listen: %s", log ? log : "");
    }
    status = agentbox_read_json(b, "agent/status.json");
    snprintf(b->addr, sizeof(b->addr), "%s", json_get_str(status, "addr"));
    return b;
}

struct agentbox *agentbox_new_alone(const char *script, const char *over)
{
    struct agentbox *b = agentbox_prepare(script, over);

    return agentbox_begin(b, b->key);
}

static void agentbox_warm_spec(struct agentbox *b, int max_age_s)
{
    own_mem char *jwks = forge_jwks(b->signer, NULL);
    own_mem char *text =
        mem_printf("{\"v\":1,\"warm\":{\"pool\":\"test\",\"psk_id\":\"%s\","
                   "\"max_age_s\":%d},\"token\":{\"iss\":\"" ISSUER "\","
                   "\"aud\":\"" INSTALLATION "\",\"skew_s\":30,\"jwks\":%s}}",
                   b->pool_id, max_age_s, jwks);

    agentbox_write(b, "agent/spec.json", text, 0600);
}

struct agentbox *agentbox_new_warm(const char *script, const char *over,
                                   int max_age_s)
{
    struct agentbox *b = agentbox_prepare(script, over);

    random_id(b->pool_id);
    random_bytes(b->pool_key, sizeof(b->pool_key));
    agentbox_warm_spec(b, max_age_s);
    setenv("PODTERM_POD_UID", AGENTBOX_POD, 1);
    agentbox_begin(b, b->pool_key);
    unsetenv("PODTERM_POD_UID");
    return b;
}

struct agentbox *agentbox_new(const char *script, const char *over)
{
    struct agentbox *b = agentbox_new_alone(script, over);

    agentbox_start_shim(b);
    return b;
}

/* -1 while it runs. */
static int agentbox_reap(pid_t *pid, int ms)
{
    int64_t until = loop_now_ms() + ms;
    int status;

    if (*pid == 0)
        return 0;
    while (waitpid(*pid, &status, WNOHANG) == 0) {
        if (loop_now_ms() > until)
            return -1;
        poll(NULL, 0, 2);
    }
    *pid = 0;
    return status;
}

int agentbox_wait(struct agentbox *b, int ms)
{
    int status = agentbox_reap(&b->agent, ms);

    if (status < 0)
        fail_msg("the agent still runs after %d ms", ms);
    return status;
}

int agentbox_wait_shim(struct agentbox *b, int ms)
{
    int status = agentbox_reap(&b->shim, ms);

    if (status < 0)
        fail_msg("the shim still runs after %d ms", ms);
    return status;
}

/* A program whose shim was killed lives on: it is known by where it works. */
static void agentbox_sweep(const struct agentbox *b)
{
    DIR *d = opendir("/proc");
    struct dirent *de;

    while ((de = readdir(d))) {
        char link[64], at[4096];
        pid_t pid = (pid_t)atoi(de->d_name);
        ssize_t n;

        if (pid <= 1 || pid == getpid())
            continue;
        snprintf(link, sizeof(link), "/proc/%d/cwd", pid);
        n = readlink(link, at, sizeof(at) - 1);
        if (n > 0 && (at[n] = 0, strncmp(at, b->dir, strlen(b->dir)) == 0))
            kill(pid, SIGKILL);
    }
    closedir(d);
}

void agentbox_free(struct agentbox *b)
{
    if (!b)
        return;
    if (b->agent)
        kill(b->agent, SIGKILL);
    if (b->shim)
        kill(b->shim, SIGKILL);
    agentbox_reap(&b->agent, AGENTBOX_MS);
    agentbox_reap(&b->shim, AGENTBOX_MS);
    agentbox_sweep(b);
    if (getenv("AGENTBOX_KEEP"))
        print_message("kept: %s\n", b->dir);
    else
        scratch_remove(b->dir);
    tls_ctx_free(b->ctx);
    wipe(b->key, sizeof(b->key));
    free(b->spec);
    free(b);
}

pid_t agentbox_main(struct agentbox *b, pid_t not_this)
{
    int64_t until = loop_now_ms() + AGENTBOX_MS;
    own_mem char *path =
        mem_printf("/proc/%d/task/%d/children", b->agent, b->agent);

    do {
        char text[256] = "", *at = text, *end;
        own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
        pid_t pid;

        if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
            while ((pid = (pid_t)strtol(at, &end, 10)) > 0) {
                if (pid != not_this)
                    return pid;
                at = end;
            }
        poll(NULL, 0, 2);
    } while (loop_now_ms() < until);
    fail_msg("the agent has no main process");
    return 0;
}

struct json *agentbox_report(struct agentbox *b)
{
    return agentbox_read_json(b, "agent/end.json");
}

struct json *agentbox_ends(struct agentbox *b, const char *reason, int ms)
{
    struct json *j;

    agentbox_wait(b, ms);
    j = agentbox_report(b);
    if (!j || !json_get_str(j, "reason") ||
        strcmp(json_get_str(j, "reason"), reason) != 0) {
        own_mem char *text = agentbox_read(b, "agent/end.json");

        fail_msg("want reason %s, the report is %s", reason,
                 text ? text : "empty");
    }
    return j;
}

bool agentbox_status(struct agentbox *b, const char *state, int ms)
{
    int64_t until = loop_now_ms() + ms;

    do {
        own_json struct json *j = agentbox_read_json(b, "agent/status.json");
        const char *is = json_get_str(j, "state");

        if (is && (!state || strcmp(is, state) == 0))
            return true;
        poll(NULL, 0, 2);
    } while (loop_now_ms() < until);
    return false;
}

static long agentbox_line(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

long agentbox_private_kib(pid_t pid)
{
    char path[64], text[8192] = "";
    own_fd int fd = -1;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return -1;
    return agentbox_line(text, "Private_Clean:") +
           agentbox_line(text, "Private_Dirty:");
}

long agentbox_cpu_ms(pid_t pid)
{
    char path[64], text[1024] = "", *at;
    unsigned long user, sys;
    own_fd int fd = -1;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return -1;
    at = strrchr(text, ')');
    assert_non_null(at);
    assert_int_equal(sscanf(at + 2,
                            "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu "
                            "%lu",
                            &user, &sys),
                     2);
    return (long)(user + sys) * 1000 / sysconf(_SC_CLK_TCK);
}

char *agentbox_token(struct agentbox *b, enum role role, const char *sub,
                     void (*change)(struct session_claims *c))
{
    int64_t now = loop_wall_s();
    struct session_claims c = {.iss = ISSUER,
                               .aud = INSTALLATION,
                               .role = role,
                               .iat = now,
                               .nbf = now,
                               .exp = now + TOKEN_LIFE_S};
    struct err e = {0};
    char *token;

    snprintf(c.sub, sizeof(c.sub), "%s", sub ? sub : "alice");
    snprintf(c.sid, sizeof(c.sid), "%s", b->sid);
    snprintf(c.bnd, sizeof(c.bnd), "%s", b->sha256);
    random_id(c.jti);
    if (change)
        change(&c);
    token = session_token_sign(b->signer, &c, &e);
    if (!token)
        fail_msg("token: %s", e.text);
    return token;
}
