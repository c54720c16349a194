#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/lib/api.h"

#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void nap_ms(int ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};

    nanosleep(&t, NULL);
}

bool api_try_start(struct rest_server *s, const char *state_dir,
                   const char *const *extra, char *text, size_t size)
{
    char self[512];
    const char *args[48];
    size_t n = 0;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    self[len > 0 ? len : 0] = '\0';
    const char *const fixed[] = {"--dev-issuer",
                                 "--listen",
                                 "127.0.0.1:0",
                                 "--state-dir",
                                 state_dir,
                                 "--attach-url",
                                 "ws://127.0.0.1:1/v1/attach",
                                 "--keeper",
                                 self,
                                 "--agent",
                                 self,
                                 "--shim",
                                 self,
                                 "--bundle-domains",
                                 "b.example"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        args[n++] = fixed[i];
    while (extra && *extra)
        args[n++] = *extra++;
    args[n] = NULL;
    return rest_start(s, args, text, size);
}

/* A pair of RSA takes a second of a processor: what the first controller of
 * this process has made serves all. */
static void share_keys(const char *state, bool is_made)
{
    static const char *const names[] = {"keys/signer.pem", "keys/standby.pem"};
    static char *kept[2];
    own_mem char *dir = mem_printf("%s/keys", state);
    size_t len;

    for (int i = 0; i < 2; i++) {
        own_mem char *path = mem_printf("%s/%s", state, names[i]);

        if (is_made && !kept[i]) {
            kept[i] = tree_get(path, &len);
        } else if (!is_made && kept[i]) {
            tree_put(state, names[i], kept[i]);
            assert_int_equal(chmod(path, 0600), 0);
            assert_int_equal(chmod(dir, 0700), 0);
        }
    }
}

void api_start(struct api *a, const char *const *extra)
{
    static int started;

    if (!a->state[0]) {
        snprintf(a->state, sizeof a->state, "/tmp/podterm-api.XXXXXX");
        assert_non_null(mkdtemp(a->state));
        assert_int_equal(chmod(a->state, 0711), 0);
        share_keys(a->state, false);
        snprintf(a->seen_path, sizeof a->seen_path, "%s/seen", a->state);
        a->seen = fopen(a->seen_path, "w");
        snprintf(a->uids, sizeof a->uids, "%ld",
                 rest_uids() + started++ % 6 * 4096);
    }
    setenv("PODTERM_UID_FIRST", a->uids, 1);
    if (!api_try_start(&a->server, a->state, extra, a->log, sizeof a->log))
        fail_msg("the controller did not start: %s", a->log);
    share_keys(a->state, true);
}

static int sessions_left(struct api *a)
{
    char path[96];
    DIR *dir;
    int count = 0;

    snprintf(path, sizeof path, "%s/sessions", a->state);
    dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count - 2;
}

/* SIGTERM to every keeper that has said who it is. */
static void end_keepers(struct api *a)
{
    char path[96];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof path, "%s/sessions", a->state);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        int pid = api_keeper(a, entry->d_name);

        if (pid > 1)
            kill(pid, SIGTERM);
    }
    if (dir)
        closedir(dir);
}

void api_finish(struct api *a)
{
    char line[128];
    int left = 1, status;

    for (int i = 0; i < 1000 && (left = sessions_left(a)) > 0; i++) {
        if (i % 20 == 0)
            end_keepers(a);
        nap_ms(10);
    }
    /* a sanitizer's finding is an exit status too */
    status = rest_stop(&a->server, SIGTERM);
    if (a->seen)
        fclose(a->seen);
    snprintf(line, sizeof line, "rm -rf %s", a->state);
    if (system(line) != 0)
        fail_msg("%s", line);
    if (status != 0) {
        fputs(a->server.last, stderr);
        fail_msg("the controller left with %d: see above", status);
    }
    memset(a, 0, sizeof *a);
    if (left > 0)
        fail_msg("%d sessions' directories are left", left);
}

static void keep(struct api *a, const char *method, const char *pattern,
                 const char *body, const struct rest_answer *r)
{
    struct json *line = json_object();
    char *text;

    json_set_str(line, "method", method);
    json_set_str(line, "path", pattern);
    json_set_int(line, "status", r->status);
    json_set_str(line, "type", rest_header(r, "content-type"));
    json_set_str(line, "body", r->body);
    if (body)
        json_set_str(line, "request", body);
    text = json_text(line);
    fprintf(a->seen, "%s\n", text);
    fflush(a->seen);
    free(text);
    json_free(line);
}

static void check_headers(const struct rest_answer *r)
{
    assert_string_equal(rest_header(r, "x-content-type-options"), "nosniff");
    assert_string_not_equal(rest_header(r, "content-security-policy"), "");
    assert_string_not_equal(rest_header(r, "cache-control"), "");
    assert_string_equal(rest_header(r, "access-control-allow-credentials"), "");
    if (r->status == 401)
        assert_string_equal(rest_header(r, "www-authenticate"), "Bearer");
}

struct rest_answer api_call(struct api *a, const char *method,
                            const char *pattern, const char *sid,
                            const char *query, const char *headers,
                            const char *body)
{
    const char *hole = strstr(pattern, "{id}");
    char *path = hole ? mem_printf("%.*s%s%s%s", (int)(hole - pattern), pattern,
                                   sid, hole + 4, query ? query : "")
                      : mem_printf("%s%s", pattern, query ? query : "");
    char *all = mem_printf("%s%s", headers ? headers : "",
                           body ? "Content-Type: application/json\r\n" : "");
    struct rest_answer r = rest_call(a->server.port, method, path, all, body);

    if (r.status == 0)
        fail_msg("%s %s: no answer", method, path);
    check_headers(&r);
    if (strcmp(method, "OPTIONS") != 0)
        keep(a, method, pattern, body, &r);
    free(path);
    free(all);
    return r;
}

int api_status(struct api *a, const char *method, const char *pattern,
               const char *sid, const char *headers, const char *body)
{
    struct rest_answer r =
        api_call(a, method, pattern, sid, NULL, headers, body);
    int status = r.status;

    rest_fini(&r);
    return status;
}

char *api_identity(struct api *a, const char *sub)
{
    char *query = mem_printf("?sub=%s", sub), *out;
    struct rest_answer r =
        api_call(a, "GET", "/dev/token", NULL, query, NULL, NULL);
    struct err e = {0};
    struct json *j;

    assert_int_equal(r.status, 200);
    j = json_parse(r.body, r.len, &e);
    assert_non_null(json_get_str(j, "id_token"));
    out =
        mem_printf("Authorization: Bearer %s\r\n", json_get_str(j, "id_token"));
    json_free(j);
    rest_fini(&r);
    free(query);
    return out;
}

char *api_body(const char *mode, const char *more)
{
    return mem_printf("{\"bundle\":{\"url\":\"https://b.example/x.tgz?secret\""
                      ",\"sha256\":\"" API_SHA "\"},\"cols\":80,\"rows\":24,"
                      "\"env\":{\"FAKE\":\"%s\",\"SECRET\":\"hunter2\"}%s}",
                      mode, more);
}

void api_create(struct api *a, const char *who, const char *mode, char sid[27])
{
    char *body = api_body(mode, "");
    struct rest_answer r =
        api_call(a, "POST", "/api/sessions", NULL, NULL, who, body);
    struct err e = {0};
    struct json *j;

    if (r.status != 201)
        fail_msg("create: %d %s", r.status, r.body);
    j = json_parse(r.body, r.len, &e);
    snprintf(sid, 27, "%s", json_get_str(j, "id"));
    json_free(j);
    rest_fini(&r);
    free(body);
}

struct json *api_get(struct api *a, const char *who, const char *sid)
{
    struct rest_answer r =
        api_call(a, "GET", "/api/sessions/{id}", sid, NULL, who, NULL);
    struct err e = {0};
    struct json *j = json_parse(r.body, r.len, &e);

    assert_int_equal(r.status, 200);
    assert_non_null(j);
    rest_fini(&r);
    return j;
}

struct json *api_wait(struct api *a, const char *who, const char *sid,
                      const char *state)
{
    for (int i = 0; i < 1000; i++) {
        struct json *j = api_get(a, who, sid);

        if (strcmp(json_get_str(j, "state"), state) == 0)
            return j;
        json_free(j);
        nap_ms(10);
    }
    fail_msg("the session never was %s", state);
    return NULL;
}

int api_keeper(struct api *a, const char *sid)
{
    char path[160], text[256];
    const char *at;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/sessions/%s/keeper.json", a->state, sid);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    at = strstr(text, "\"pid\":");
    return at ? atoi(at + 6) : -1;
}

bool api_is_alive(int pid)
{
    char path[64], text[512];
    const char *at;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    at = strrchr(text, ')');
    return at && at[1] && at[2] != 'Z';
}
