#include "tests/lib/fake_keeper.h"

#include "base/frame.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/seal.h"
#include "base/ws.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *dir;
    char mode[32];
    char psk_id[64];
    uint8_t key[32];
    struct loop *loop;
    struct ws_context *ws;
    struct ws_server *server;
    struct ws_conn *conn;
} fake;

static void put(const char *name, const char *text)
{
    char path[512], fresh[520];
    int fd;

    snprintf(path, sizeof path, "%s/%s", fake.dir, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || close(fd) < 0 ||
        rename(fresh, path) < 0)
        _exit(9);
}

static void end(const char *report, const char *runner)
{
    put("agent/end.json", report);
    put("runner.json", runner);
    _exit(0);
}

static void on_term(void *arg, int signum)
{
    (void)arg;
    (void)signum;
    end("", "{\"status\":\"exited\",\"value\":72}");
}

static int find_key(void *arg, const uint8_t *id, size_t len, uint8_t key[32],
                    uint64_t *tag)
{
    (void)arg;
    *tag = 1;
    if (len != strlen(fake.psk_id) || memcmp(id, fake.psk_id, len) != 0)
        return -1;
    memcpy(key, fake.key, 32);
    return 0;
}

static void *opened(void *arg, struct ws_conn *c)
{
    (void)arg;
    fake.conn = c;
    return c;
}

static void keep_viewers(const struct frame_viewers *v)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/agent/viewers", fake.dir);
    f = fopen(path, "ae");
    if (!f)
        _exit(5);
    fprintf(f, "%llu", (unsigned long long)v->version);
    for (uint32_t i = 0; i < v->count; i++)
        fprintf(f, " %s", v->subjects[i]);
    fputc('\n', f);
    fclose(f);
}

static void hear_viewers(struct ws_conn *c, const uint8_t *bytes, size_t len)
{
    struct frame_viewers v;
    struct frame f;

    if (strcmp(fake.mode, "forgetful") == 0) {
        fake.mode[0] = '\0';
        ws_abort(c);
    } else if (frame_parse(bytes, len, true, &f) == 0 &&
               frame_viewers_read(&f, &v) == 0) {
        keep_viewers(&v);
        ws_close(c, 1000, "");
    }
}

/* HELLO's token must be of role control; its payload is looked into only. */
static void message(void *user, const uint8_t *bytes, size_t len, bool is_text)
{
    (void)is_text;
    if (bytes[0] == FRAME_HELLO && len > 2)
        ws_send(user, "\x81{\"sid\":\"x\"}", 12);
    if (bytes[0] == FRAME_VIEWERS)
        hear_viewers(user, bytes, len);
    if (bytes[0] == FRAME_END && strcmp(fake.mode, "deaf") != 0)
        end("{\"v\":1,\"reason\":\"deleted\",\"output_bytes\":5}",
            "{\"status\":\"exited\",\"value\":0}");
}

static void drained(void *user)
{
    (void)user;
}

static void closed(void *user, int code, const char *reason)
{
    (void)user;
    (void)code;
    (void)reason;
}

static void read_spec(void)
{
    char path[512];
    static char text[262144];
    struct err e = {0};
    struct json *spec;
    const char *mode;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/agent/spec.json", fake.dir);
    fd = open(path, O_RDONLY);
    n = read(fd, text, sizeof text);
    close(fd);
    spec = n > 0 ? json_parse(text, (size_t)n, &e) : NULL;
    if (!spec || read(3, fake.key, 32) != 32)
        _exit(8);
    mode = json_get_str(json_get(spec, "env"), "FAKE");
    snprintf(fake.mode, sizeof fake.mode, "%s", mode ? mode : "");
    snprintf(fake.psk_id, sizeof fake.psk_id, "%s",
             json_get_str(spec, "psk_id"));
    unlink(path);
    json_free(spec);
}

static void write_keeper(void)
{
    struct proc_id id;
    struct err e = {0};
    char text[160];

    if (proc_identify(getpid(), &id, &e) < 0)
        _exit(7);
    snprintf(text, sizeof text,
             "{\"pid\":%d,\"start\":%llu,\"boot_id\":\"%s\"}", (int)id.pid,
             (unsigned long long)id.start, id.boot_id);
    put("keeper.json", text);
}

static void status(const char *state)
{
    char text[256];

    snprintf(text, sizeof text,
             "{\"v\":1,\"state\":\"%s\",\"addr\":\"127.0.0.1:%d\","
             "\"program_started_ms\":%lld,\"isolation\":\"full\"}",
             state, ws_server_port(fake.server), (long long)loop_wall_ms());
    put("agent/status.json", text);
}

static void serve(void)
{
    static const struct ws_verbs verbs = {opened, message, drained, closed};
    struct err e = {0};
    struct ws_server_conf conf = {.psk_find = find_key,
                                  .ws_path = "/v1/attach",
                                  .subprotocol = FRAME_SUBPROTOCOL,
                                  .verbs = &verbs,
                                  .message_max = 16384};

    conf.listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    fake.ws = ws_context_new(fake.loop, 64, &e);
    fake.server = fake.ws ? ws_server_new(fake.ws, &conf, &e) : NULL;
    if (!fake.server) {
        fprintf(stderr, "%s\n", e.text);
        _exit(6);
    }
    status("listening");
    status("running");
}

/* Each is there for a moment, so that it is looked at on its own. */
static void babble(void)
{
    for (int i = 0; i < 300; i++) {
        put("agent/status.json", "{\"v\":1,\"state\":\"evil\"}");
        usleep(1000);
    }
    status("running");
}

static bool is(const char *mode)
{
    return strcmp(fake.mode, mode) == 0;
}

static void keep(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--dir") == 0)
            fake.dir = argv[i + 1];
    seal_init();
    alarm(120); /* should a failed test forget it */
    write_keeper();
    read_spec();
    fake.loop = loop_new();
    if (is("stubborn"))
        signal(SIGTERM, SIG_IGN);
    else
        loop_signal_start(fake.loop, SIGTERM, on_term, NULL);
    if (is("exit"))
        end("{\"v\":1,\"reason\":\"exited\",\"exit_code\":3}",
            "{\"status\":\"exited\",\"value\":0}");
    if (is("liar"))
        end("{\"v\":1,\"reason\":\"evil\",\"x\":1}",
            "{\"status\":\"exited\",\"value\":0}");
    if (!is("pending") && !is("stubborn"))
        serve();
    if (is("babbler"))
        babble();
    if (is("die"))
        kill(getpid(), SIGKILL);
    loop_run(fake.loop);
    _exit(0);
}

void fake_keeper_maybe(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--probe") == 0)
        _exit(0);
    if (argc > 1 && strcmp(argv[1], "--dir") == 0)
        keep(argc, argv);
}
