/* podterm run: make a session and attach this terminal to it. */
#include "base/digest.h"
#include "base/frame.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/archive.h"
#include "client/attach.h"
#include "client/command.h"
#include "client/lend.h"
#include "client/options.h"
#include "client/say.h"
#include "client/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_SIGNATURE_MAX 4096
#define RUN_LENT_MS 600000 /* for a detached start to fetch the archive */
#define RUN_TURN_MS 200    /* between two looks at it */

static struct options opt;
static const char *bundle, *sha, *signature, *image;
static bool detach, raw, quiet;
static int64_t lifetime_s, idle_s, retry_s;
static const char *escape_text;
static int escape_byte;
static struct archive local; /* the bundle, when it lies here */
static struct lend lent;

static const struct conf_row rows[] = {
    {"bundle", CONF_STR, &bundle, 1, 2047, NULL, "URL|FILE",
     "the program, an archive: where the server fetches it from, or a file of "
     "this machine"},
    {"sha256", CONF_STR, &sha, 0, 64, NULL, "HEX",
     "its SHA-256; needed with a URL"},
    {"signature", CONF_STR, &signature, 1, 4096, NULL, "FILE",
     "its minisign signature"},
    {"image", CONF_STR, &image, 1, 1024, NULL, "NAME", "the runner's image"},
    {"lifetime-s", CONF_INT, &lifetime_s, -1, 86400, "-1", "s",
     "end it after that long, at least 1 (-1: the server's default)"},
    {"idle-s", CONF_INT, &idle_s, -1, 86400, "-1", "s",
     "end it after that long without use, 0 = never (-1: the server's "
     "default)"},
    {"detach", CONF_BOOL, &detach, 0, 0, NULL, "",
     "do not attach: print the session's id"},
    {"raw", CONF_BOOL, &raw, 0, 0, NULL, "",
     "do not filter what the program sends to this terminal"},
    {"quiet", CONF_BOOL, &quiet, 0, 0, NULL, "", "no progress on stderr"},
    OPTIONS_ESCAPE_ROW(escape_text),
    {"retry-s", CONF_INT, &retry_s, 1, 86400, "600", "s",
     "how long a lost connection is tried again; a first one for 60 at most"},
    OPTIONS_SERVER_ROWS(opt),
};

static struct command_list lists[] = {
    {.name = "env",
     .unit = "NAME[=VALUE]",
     .help = "a variable of the program's environment; without =VALUE it is "
             "yours. The program can read it: give it no secret you would not "
             "give the program"},
    {.name = "viewer",
     .unit = "SUBJECT",
     .help = "who may watch (podterm attach --view); podterm share changes it "
             "later"},
    {.name = NULL}};

static volatile sig_atomic_t interrupted; /* while the session is made */
static atomic_bool is_cancelled;

static void on_interrupt(int signum)
{
    interrupted = signum;
    atomic_store(&is_cancelled, true);
}

/* --- the bundle --- */

/* The server takes it from our hands, if it runs on this machine. */
static int run_lend(const struct remote *remote, struct err *e)
{
    if (remote->server.is_loopback)
        return lend_start(&lent, &local, e);
    return err_set(e, ERR_INPUT,
                   "%s is a file of this machine, and %s is another one. Put "
                   "it where that server may fetch from, and then: podterm "
                   "run --bundle https://HOST/%s --sha256 %s",
                   local.name, remote->server.base, local.name, local.sha256);
}

static int run_local(const struct remote *remote, const char *path,
                     struct err *e)
{
    uint8_t want[SHA256_BYTES], is[SHA256_BYTES];

    if (archive_open(&local, path, e) < 0)
        return -1;
    hex_decode(local.sha256, SHA256_HEX, is, sizeof(is));
    /* the digest in the environment belongs to the bundle there */
    if (sha && sha[0] && sha != getenv("PODTERM_SHA256") &&
        (hex_decode(sha, strlen(sha), want, sizeof(want)) < 0 ||
         memcmp(want, is, sizeof(is)) != 0))
        return err_set(e, ERR_INPUT,
                       "--sha256: %.100s has another: %s; nothing was started",
                       path, local.sha256);
    if (run_lend(remote, e) < 0)
        return -1;
    bundle = lent.url;
    sha = local.sha256;
    return 0;
}

static int run_signature(struct json *b, struct err *e)
{
    char text[RUN_SIGNATURE_MAX + 1];
    own_fd int fd = open(signature, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

    if (n < 0)
        return err_sys(e, "--signature %.100s", signature);
    if (n == 0 || n > RUN_SIGNATURE_MAX)
        return err_set(e, ERR_INPUT,
                       "--signature %.100s: not a minisign signature (as "
                       "minisign -S writes it to FILE.minisig)",
                       signature);
    json_set_strn(b, "signature", text, (size_t)n);
    return 0;
}

static int run_bundle(struct json *body, struct err *e)
{
    struct json *b;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];

    if (!bundle)
        return err_set(e, ERR_INPUT,
                       "which program? An archive of this machine (podterm "
                       "run ./NAME.tar.gz), or --bundle URL --sha256 HEX, or "
                       "PODTERM_BUNDLE and PODTERM_SHA256");
    if (!sha || !sha[0])
        return err_set(e, ERR_INPUT,
                       "--sha256 is missing: the bundle's digest, as "
                       "`sha256sum FILE` prints it on a copy you trust");
    if (hex_decode(sha, strlen(sha), digest, sizeof(digest)) < 0)
        return err_set(e, ERR_INPUT,
                       "--sha256: want 64 hexadecimal digits, as `sha256sum "
                       "FILE` prints them");
    b = json_set(body, "bundle", json_object());
    json_set_str(b, "url", bundle);
    hex_encode(digest, sizeof(digest), hex);
    json_set_str(b, "sha256", hex);
    return signature ? run_signature(b, e) : 0;
}

/* --- the request --- */

/* The command line is there for all of this machine to read. */
static void run_hide(const char *value)
{
    memset((char *)(uintptr_t)value, '*', strlen(value));
}

static bool run_is_name(const char *name)
{
    return name[0] && strchr("0123456789", name[0]) == NULL &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789_")];
}

static int run_env(struct json *body, struct err *e)
{
    struct json *env = NULL;

    for (size_t i = 0; i < lists[0].count; i++) {
        const char *text = lists[0].values[i], *equals = strchr(text, '=');
        own_mem char *name =
            equals ? mem_strn(text, (size_t)(equals - text)) : mem_str(text);
        const char *value = equals ? equals + 1 : getenv(name);

        if (!run_is_name(name))
            return err_set(
                e, ERR_INPUT,
                "--env %.40s: want NAME or NAME=VALUE, and a name "
                "has letters, digits and _ alone, no digit first; nothing was "
                "started",
                name);
        if (!value)
            return err_set(
                e, ERR_INPUT,
                "--env %.60s: it is not set in your environment, and "
                "nothing was started; set it, or give --env "
                "%.60s=VALUE",
                name, name);
        if (!env)
            env = json_set(body, "env", json_object());
        json_set_str(env, name, value);
        if (equals)
            run_hide(value);
    }
    return 0;
}

static void run_list(struct json *body, const char *name,
                     const char *const *items, size_t count)
{
    struct json *list;

    if (count == 0)
        return;
    list = json_set(body, name, json_array());
    for (size_t i = 0; i < count; i++)
        json_set_str(list, NULL, items[i]);
}

static int run_body(struct json *body, char *const *command, size_t count,
                    struct err *e)
{
    uint16_t cols, rows_;

    if (run_bundle(body, e) < 0)
        return -1;
    if (json_get(body, "env") && !quiet && !opt.json)
        say("the program can read what --env gives it");
    if (lifetime_s == 0)
        return err_set(e, ERR_INPUT,
                       "--lifetime-s 0: want 1 to 86400 seconds, or -1 for "
                       "the server's default");
    tty_size(STDOUT_FILENO, &cols, &rows_);
    json_set_int(body, "cols", cols);
    json_set_int(body, "rows", rows_);
    if (lifetime_s > 0)
        json_set_int(body, "lifetime_s", lifetime_s);
    if (idle_s >= 0)
        json_set_int(body, "idle_s", idle_s);
    if (image)
        json_set_str(body, "image", image);
    run_list(body, "command", (const char *const *)command, count);
    run_list(body, "viewers", lists[1].values, lists[1].count);
    return 0;
}

/* --- the session --- */

/* From now on (or no more) Ctrl-C and its like are remembered, not obeyed. */
static void run_listen(bool on)
{
    static const int signums[] = {SIGINT, SIGTERM, SIGHUP};
    static struct sigaction old[3];
    const struct sigaction remember = {.sa_handler = on_interrupt};

    for (size_t i = 0; i < 3; i++)
        if (!on)
            sigaction(signums[i], &old[i], NULL);
        else if (sigaction(signums[i], &remember, &old[i]) == 0 &&
                 signums[i] == SIGHUP && old[i].sa_handler == SIG_IGN)
            sigaction(SIGHUP, &old[i], NULL); /* nohup */
}

/* Make it. A session that is made at the very moment of a Ctrl-C must not stay
 * behind. */
static struct json *run_create(struct remote *remote, const struct json *body,
                               struct err *e)
{
    struct json *j;

    run_listen(true);
    remote->server.is_cancelled = &is_cancelled;
    j = remote_create(remote, body, e);
    remote->server.is_cancelled = NULL;
    run_listen(false);
    return j;
}

/* The user gave up, or nobody reads the program: end what was made for them.
 * A second Ctrl-C ends the waiting. */
static void run_end(const struct remote *remote, const char *sid, bool is_told)
{
    struct err e = {0};
    own_json struct json *j = remote_delete(remote, sid, &e);

    if (!j)
        say("session %s could not be ended: %s. End it with: podterm end %s",
            sid, e.text, sid);
    else if (is_told)
        say("the session was ended");
}

/* The server has it now. */
static void run_started(void)
{
    lend_stop(&lent);
}

static int run_attached(struct remote *remote, const struct json *session)
{
    struct attach_conf conf = {.remote = remote,
                               .role = ROLE_OWNER,
                               .token = json_get_str(session, "token"),
                               .attach_url =
                                   json_get_str(session, "attach_url"),
                               .is_ours = true,
                               .is_unfiltered = raw,
                               .escape_key = escape_byte,
                               .retry_ms = retry_s * 1000,
                               .started = run_started};
    struct remote own = *remote; /* attach_run may leave the other one in use */
    struct attach_result result;

    snprintf(conf.sid, sizeof(conf.sid), "%s", json_get_str(session, "id"));
    conf.progress = progress_for(STDERR_FILENO, opt.json, quiet);
    progress_session(conf.progress, conf.sid);
    attach_run(&conf, &result);
    progress_free(conf.progress);
    if (result.wants_end)
        run_end(&own, conf.sid, !opt.json && result.status != 128 + SIGPIPE);
    if (result.is_stuck) {
        fflush(NULL);
        _exit(result.status);
    }
    return result.status;
}

/* Nobody attaches with this token: printed, it would lie in a log or a pipe
 * for as long as it opens the terminal. */
static void run_print(struct json *session)
{
    json_drop(session, "token");
    json_drop(session, "token_expires_at");
    if (opt.json)
        say_json(stdout, session);
    else
        printf("%s\n", json_get_str(session, "id"));
}

/* Until the program runs, or never will: so long the archive is needed. */
static void run_hold(struct remote *remote, const char *sid)
{
    const int64_t until = loop_now_ms() + RUN_LENT_MS;

    run_listen(true);
    remote->server.is_cancelled = &is_cancelled;
    while (loop_now_ms() < until && !interrupted) {
        struct err e = {0};
        own_json struct json *j = remote_get(remote, sid, &e);
        const char *state = json_get_str(j, "state");

        if (state && (!strcmp(state, "running") || !strcmp(state, "ended")))
            break;
        poll(NULL, 0, RUN_TURN_MS);
    }
    remote->server.is_cancelled = NULL;
    run_listen(false);
}

static int run_session(struct remote *remote, struct json *session)
{
    static const struct err no_session = {
        .kind = ERR_PEER, .text = "the server's answer is not a session"};
    const char *sid = json_get_str(session, "id");

    if (!sid || !id_is_valid(sid) || !json_get_str(session, "attach_url"))
        return say_failed(NULL, &no_session);
    if (interrupted) {
        run_end(remote, sid, true);
        return 128 + interrupted;
    }
    if (!detach)
        return run_attached(remote, session);
    if (lent.pid) {
        run_hold(remote, sid);
        if (interrupted) {
            run_end(remote, sid, true);
            return 128 + interrupted;
        }
    }
    run_print(session);
    return 0;
}

/* The operands: an archive first, perhaps, and the command. *at: where that
 * begins. */
static int run_operands(const struct remote *remote, char *const *operands,
                        size_t count, size_t before, size_t *at, struct err *e)
{
    const char *path = NULL;
    struct stat st;

    *at = 0;
    if (before > 0 &&
        (archive_is_named(operands[0]) ||
         (!bundle && stat(operands[0], &st) == 0 && S_ISDIR(st.st_mode)))) {
        path = operands[0];
        *at = 1;
    } else if (bundle && !strstr(bundle, "://")) {
        path = bundle;
    }
    if (count > *at && before > 1 && *at == 1)
        return err_set(e, ERR_INPUT,
                       "\"%.60s\": a command stands behind --, as in: podterm "
                       "run %.100s -- %.60s",
                       operands[1], path, operands[1]);
    if (before > 0 && !path && !bundle)
        return err_set(
            e, ERR_INPUT,
            "\"%.100s\": no archive by its name (it ends in .tar.gz, "
            ".tar.xz, .tar.zst, .tar or .zip); one of another name "
            "is given as --bundle FILE",
            operands[0]);
    return path ? run_local(remote, path, e) : 0;
}

static int run_made(struct remote *remote, const struct json *body,
                    struct err *e)
{
    own_json struct json *session = run_create(remote, body, e);

    if (session)
        return run_session(remote, session);
    if (interrupted)
        return 128 + interrupted;
    return say_failed("no session was started", e);
}

static int run_command(const struct command *c, int argc, char **argv)
{
    own_json struct json *body = json_object();
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0, before = 0, at = 0;
    int got = options_load(c, argc, argv, &operands, &count, &before, &e);

    if (got == 1)
        return 0;
    if (got < 0 || escape_key(escape_text, &escape_byte, &e) < 0 ||
        options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    if (run_env(body, &e) < 0 || /* before lend_start() copies this process */
        run_operands(&remote, operands, count, before, &at, &e) < 0 ||
        run_body(body, operands + at, count - at, &e) < 0)
        got = say_failed(NULL, &e);
    else
        got = run_made(&remote, body, &e);
    lend_stop(&lent);
    options_remote_fini(&remote);
    return got;
}

const struct command command_run = {
    .name = "run",
    .summary = "start a session and attach this terminal to it",
    .usages =
        (const char *const[]){
            "[options] ARCHIVE [-- command...]",
            "[options] --bundle URL --sha256 HEX [-- command...]", NULL},
    .about =
        (const char *const[]){
            "The program comes as a bundle, an archive (tar.gz, tar.xz, "
            "tar.zst, tar, zip) that is fetched, verified by its SHA-256 and "
            "unpacked. ARCHIVE is a file of this machine, known by its ending; "
            "a server on this machine (podterm dev) gets it from podterm run "
            "itself. command replaces what the bundle starts by itself.",
            "On a terminal the program has it until it ends. Else the session "
            "streams: standard input is typed, its end is typed as Ctrl-D, "
            "output goes to standard output; SIGINT and SIGTERM are passed on "
            "once, and a second one leaves the session running. The program "
            "always has a terminal: its lines end in CR LF, and it echoes what "
            "is typed unless it turns that off. Leaving before the program has "
            "started ends the session, as does a reader of standard output "
            "that goes away.",
            OPTIONS_ESCAPE_ABOUT,
            "With --json each line on standard error is a JSON object "
            "(PROTOCOL.md 9).",
            NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .lists = lists,
    .exits = options_attach_exits,
    .operand = COMMAND_FILE,
    .is_prefix = true,
    .run = run_command,
};
