#include "client/devconf.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/mem.h"
#include "base/ours.h"
#include "base/own.h"
#include "base/ws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_MAX 65535
#define PORT_TRIES 20 /* for a free pair when the port is 0 */

/* --- addresses --- */

/* "localhost:8080" is 127.0.0.1; all else must be a loopback literal. */
static int loopback(const char *flag, const char *text,
                    struct sockaddr_storage *out, struct err *e)
{
    own_mem char *literal = NULL;

    if (strncmp(text, "localhost:", 10) == 0)
        literal = mem_printf("127.0.0.1:%s", text + 10);
    if (addr_parse(literal ? literal : text, out, e) < 0)
        return err_wrap(e, "%s %s", flag, text);
    if (!addr_is_loopback((struct sockaddr *)out))
        return err_set(e, ERR_INPUT,
                       "%s %s: not a loopback address. `podterm dev` gives "
                       "an identity to whoever asks, so it listens on "
                       "127.0.0.1 or [::1] only",
                       flag, text);
    return 0;
}

static in_port_t *port_of(struct sockaddr_storage *sa)
{
    return sa->ss_family == AF_INET6 ? &((struct sockaddr_in6 *)sa)->sin6_port
                                     : &((struct sockaddr_in *)sa)->sin_port;
}

/* Listen there for a moment: a port in use is told before anything starts.
 * The name found (a port 0 chosen) replaces out. */
static int claim(const char *flag, const struct sockaddr_storage *sa,
                 char out[ADDR_TEXT_MAX], int *fd, struct err *e)
{
    char text[ADDR_TEXT_MAX];

    addr_text((const struct sockaddr *)sa, text);
    *fd = listen_tcp(text, false, e);
    if (*fd < 0)
        return err_wrap(e, "%s", flag);
    if (listen_name(*fd, out, ADDR_TEXT_MAX) < 0)
        return err_sys(e, "%s %s", flag, text);
    return 0;
}

static int claim_both(struct devconf *c, struct sockaddr_storage *api,
                      struct sockaddr_storage *attach, struct err *e)
{
    own_fd int api_fd = -1, attach_fd = -1;

    if (claim("--listen", api, c->api, &api_fd, e) < 0)
        return -1;
    if (!c->attach_listen) {
        struct sockaddr_storage got;

        if (addr_parse(c->api, &got, e) < 0)
            return -1;
        *attach = got;
        if (ntohs(*port_of(&got)) == PORT_MAX)
            return err_set(e, ERR_INPUT,
                           "--listen %s: there is no next port for the "
                           "gateway; set --attach-listen",
                           c->api);
        *port_of(attach) = htons((uint16_t)(ntohs(*port_of(&got)) + 1));
    }
    return claim("--attach-listen", attach, c->attach, &attach_fd, e);
}

static int addresses(struct devconf *c, struct err *e)
{
    struct sockaddr_storage api, attach = {0};
    struct err why = {0};
    bool is_any;

    if (loopback("--listen", c->listen, &api, e) < 0)
        return -1;
    if (c->attach_listen &&
        loopback("--attach-listen", c->attach_listen, &attach, e) < 0)
        return -1;
    is_any = *port_of(&api) == 0;
    for (int i = 0; i < (is_any ? PORT_TRIES : 1); i++) {
        why = (struct err){0};
        if (claim_both(c, &api, &attach, &why) == 0)
            return 0;
    }
    *e = why; /* of the last try: a good one leaves *e alone */
    return -1;
}

/* --- directories --- */

static int state_fail(const char *path, struct err *e)
{
    return err_set(e, ERR_SYSTEM,
                   "--state %s: %s; choose another directory with --state",
                   path, strerror(errno));
}

static int make_path(const char *path, struct err *e)
{
    char text[PATH_MAX];

    snprintf(text, sizeof text, "%s", path);
    for (char *slash = text + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(text, 0755) < 0 && errno != EEXIST)
            return state_fail(path, e);
        *slash = '/';
    }
    if (mkdir(text, 0711) < 0 && errno != EEXIST)
        return state_fail(path, e);
    return 0;
}

/* As root, agents and programs run under uids of their own: each directory
 * above must let them pass. */
static int passable(const char *flag, const char *path, struct err *e)
{
    char text[PATH_MAX];
    struct stat st;

    if (geteuid() != 0)
        return 0;
    snprintf(text, sizeof text, "%s", path);
    for (;;) {
        char *slash = strrchr(text, '/');

        if (!slash || slash == text)
            return 0;
        *slash = '\0';
        if (stat(text, &st) < 0)
            return err_sys(e, "%s %s", flag, text);
        if (!(st.st_mode & S_IXOTH))
            return err_set(e, ERR_INPUT,
                           "%s %s: as root, programs run under uids of their "
                           "own, and those cannot pass %s (mode %04o); choose "
                           "another directory",
                           flag, path, text, st.st_mode & 07777);
    }
}

static int state_dir(struct devconf *c, struct err *e)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_STATE_HOME");
    own_mem char *made = NULL;
    own_fd int fd = -1;
    struct stat st;
    char *real;

    if (c->state && *c->state)
        made = mem_str(c->state);
    else if (geteuid() == 0)
        made = mem_str("/var/lib/podterm");
    else if (xdg && xdg[0] == '/')
        made = mem_printf("%s/podterm", xdg);
    else if (home && home[0] == '/')
        made = mem_printf("%s/.local/state/podterm", home);
    else
        return err_set(e, ERR_INPUT,
                       "HOME is not set: set --state, a "
                       "directory for keys, store, sessions");
    if (make_path(made, e) < 0)
        return -1;
    if (stat(made, &st) < 0)
        return state_fail(made, e);
    errno = ENOTDIR;
    if (!S_ISDIR(st.st_mode) || access(made, W_OK | X_OK) < 0)
        return state_fail(made, e);
    fd = ours_dir(made, 0711, e); /* before a link's end takes its name */
    if (fd < 0)
        return err_wrap(e, "--state");
    real = realpath(made, c->state_dir);
    if (!real)
        return state_fail(made, e);
    return passable("--state", real, e);
}

static int other_dirs(struct devconf *c, struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", c->bin_dir, sizeof c->bin_dir - 1);
    own_mem char *below = NULL;
    char *slash;

    if (n <= 0)
        return err_sys(e, "/proc/self/exe");
    c->bin_dir[n] = '\0';
    slash = strrchr(c->bin_dir, '/');
    if (slash)
        *slash = '\0';
    if (!realpath(c->bundle_root, c->root_dir))
        return err_sys(e, "--bundle-root %s", c->bundle_root);
    below = mem_printf("%s/bundle", c->root_dir);
    passable("--bundle-root", below, &c->root_trouble);
    return 0;
}

/* The page as it was installed with this program, else as `make web` leaves
 * it beside build/; none is fine, unless one was named. */
static int web_dir(struct devconf *c, struct err *e)
{
    static const char *const places[] = {"../share/podterm/web",
                                         "../../web/dist"};

    if (c->web && !*c->web)
        return 0;
    if (c->web && !realpath(c->web, c->web_dir))
        return err_set(e, ERR_INPUT,
                       "--web-dir %s: %s; name the directory the page was "
                       "built into, or leave it empty for none",
                       c->web, strerror(errno));
    for (size_t i = 0; !c->web && i < sizeof places / sizeof *places; i++) {
        own_mem char *dir = mem_printf("%s/%s", c->bin_dir, places[i]);
        own_mem char *index = mem_printf("%s/index.html", dir);

        if (access(index, R_OK) == 0 && realpath(dir, c->web_dir))
            return 0;
        c->web_dir[0] = '\0';
    }
    return 0;
}

/* "API=FILE,…" with files that a controller finds, whose directory is another.
 */
static int broker_files(struct devconf *c, struct err *e)
{
    own_mem char *here = getcwd(NULL, 0);
    const char *at = c->broker;
    struct buf out;

    if (!here)
        return err_sys(e, "working directory");
    buf_init(&out, 2 * (4096 + PATH_MAX));
    while (*at) {
        const int len = (int)strcspn(at, ","), name = (int)strcspn(at, "=");
        const bool is_relative = name + 1 < len && at[name + 1] != '/';

        if (buf_printf(&out, "%s%.*s%s%s%.*s", out.len ? "," : "",
                       is_relative ? name + 1 : len, at,
                       is_relative ? here : "", is_relative ? "/" : "",
                       is_relative ? len - name - 1 : 0, at + name + 1) < 0) {
            buf_fini(&out);
            return err_set(e, ERR_INPUT, "--broker is too long");
        }
        at += len + (at[len] == ',');
    }
    c->broker = mem_str(buf_cstr(&out)); /* as long as we run */
    buf_fini(&out);
    return 0;
}

/* --- settings --- */

static int choices(const struct devconf *c, struct err *e)
{
    if (cage_mode_of(c->isolation) < 0)
        return err_set(e, ERR_INPUT,
                       "--isolation must be strict, best or open, not \"%s\"",
                       c->isolation);
    if (egress_mode_of(c->egress) < 0)
        return err_set(e, ERR_INPUT,
                       "--egress must be none, proxy or open, not \"%s\"",
                       c->egress);
    return 0;
}

static struct devconf slots; /* of the settings alone */

/* clang-format off */
const struct conf_row devconf_rows[] = {
    {"listen", CONF_STR, &slots.listen, 1, 128, "127.0.0.1:8080", "host:port", "where the controller listens (loopback only; port 0 = any free one)"},
    {"attach-listen", CONF_STR, &slots.attach_listen, 1, 128, NULL, "host:port", "where the gateway listens (default: the next port)"},
    {"state", CONF_STR, &slots.state, 1, PATH_MAX - 64, NULL, "directory", "keys, store, logs and sessions (default: $XDG_STATE_HOME/podterm, ~/.local/state/podterm, or /var/lib/podterm for root)"},
    {"store", CONF_STR, &slots.store, 1, 4096, NULL, "file|URL", "redis://HOST:PORT[/DB] instead of SQLite in the state directory"},
    {"web-dir", CONF_STR, &slots.web, 0, PATH_MAX - 1, NULL, "directory", "the web terminal's page as built (default: ../share/podterm/web or ../../web/dist from this program, if there; empty: no page)"},
    {"bundle-root", CONF_STR, &slots.bundle_root, 1, PATH_MAX - 1, ".", "directory", "file: bundles may come from below here"},
    {"bundle-domains", CONF_STR, &slots.bundle_domains, 0, 4096, "", "domains", "hosts bundles may come from: example.com, *.example.com (http on loopback always may)"},
    {"isolation", CONF_STR, &slots.isolation, 1, 16, "best", "strict|best|open", "a program's cage: whole or the session is refused, what this kernel has of it, or without filters (for debuggers)"},
    {"egress", CONF_STR, &slots.egress, 1, 16, "none", "none|proxy|open", "the programs' network: none, --program-domains, or all of it"},
    {"program-domains", CONF_STR, &slots.program_domains, 0, 4096, "", "domains", "with --egress proxy: what programs may reach by TLS: example.com, *.example.com, example.com:8443"},
    {"broker", CONF_STR, &slots.broker, 0, 4096, "", "API=FILE,...", "APIs programs use without their keys, which are in these files: anthropic, openai"},
    {"broker-upstream", CONF_STR, &slots.broker_upstream, 0, 4096, "", "API=URL,...", "where these APIs are instead: a gateway of your own"},
    {"installation", CONF_STR, &slots.installation, 1, 128, "podterm-dev", "", "name of this installation: audience of session tokens"},
    {"log-to-stderr", CONF_BOOL, &slots.log_to_stderr, 0, 0, NULL, "", "the services' logs on stderr instead of in STATE/log/"},
};
/* clang-format on */
_Static_assert(sizeof devconf_rows / sizeof *devconf_rows == DEVCONF_ROWS,
               "DEVCONF_ROWS");

int devconf_load(struct devconf *c, int argc, char **argv, struct err *e)
{
    int rest = 0, rc;

    rc = conf_load(devconf_rows, DEVCONF_ROWS, "podterm dev",
                   "run all of podterm on this machine (options of "
                   "podterm-controller may follow behind --)",
                   argc, argv, &rest, e);
    *c = slots;
    if (rc)
        return rc;
    if (rest < argc && strcmp(argv[rest - 1], "--") != 0)
        return err_set(e, ERR_INPUT, "\"%.60s\" is not wanted (see --help)",
                       argv[rest]);
    c->more = argv + rest;
    c->more_count = argc - rest;
    if (choices(c, e) < 0 || broker_files(c, e) < 0)
        return -1;
    if (addresses(c, e) < 0 || state_dir(c, e) < 0)
        return -1;
    return other_dirs(c, e) < 0 ? -1 : web_dir(c, e);
}
