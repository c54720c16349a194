/* podterm-keeper: one session's root process (PROTOCOL.md 7). */
#include "keeper/keep.h"

#include "base/conf.h"
#include "base/log.h"
#include "base/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)
#define PATH_BYTES 4096

static struct {
    const char *dir, *agent, *shim, *bwrap, *cache, *isolation, *egress,
        *listen;
    int64_t agent_uid, runner_uid, tmp_bytes, home_bytes, shm_bytes;
    bool has_life, has_broker, is_probe;
} set;

#define SIZE(name, slot, value, help)                                          \
    {                                                                          \
        name, CONF_INT, &set.slot, MIB, 1024 * 1024 * MIB, value, "bytes",     \
            help                                                               \
    }
#define PATH(name, slot, value, help)                                          \
    {                                                                          \
        name, CONF_STR, &set.slot, 1, PATH_BYTES, value, "PATH", help          \
    }

static const struct conf_row rows[] = {
    PATH("dir", dir, NULL, "the session's directory"),
    PATH("agent", agent, NULL, "the program podterm-agent"),
    PATH("shim", shim, NULL, "the program podterm-shim"),
    PATH("bwrap", bwrap, "/usr/bin/bwrap", "the program bubblewrap"),
    PATH("cache", cache, NULL, "the agents' cache of archives; none"),
    {"isolation", CONF_STR, &set.isolation, 1, 64, "full", "full|none",
     "is the program caged"},
    {"egress", CONF_STR, &set.egress, 1, 64, "none", "none|open",
     "open: the program shares this machine's network"},
    {"listen", CONF_STR, &set.listen, 1, 128, "127.0.0.1:0", "HOST:PORT",
     "the agent's port"},
    {"agent-uid", CONF_INT, &set.agent_uid, 0, UINT32_MAX - 1, "0", "uid",
     "as root: who the agent is"},
    {"runner-uid", CONF_INT, &set.runner_uid, 0, UINT32_MAX - 1, "0", "uid",
     "as root: who the program is"},
    SIZE("tmp-bytes", tmp_bytes, "268435456", "room in the cage's /tmp"),
    SIZE("home-bytes", home_bytes, "268435456", "room in its /home/user"),
    SIZE("shm-bytes", shm_bytes, "67108864", "room in its /dev/shm"),
    {"life", CONF_BOOL, &set.has_life, 0, 0, NULL, "",
     "end the session when descriptor 4 says end of file"},
    {"broker", CONF_BOOL, &set.has_broker, 0, 0, NULL, "",
     "descriptor 5 holds the keys of APIs, for the agent's key broker"},
    {"probe", CONF_BOOL, &set.is_probe, 0, 0, NULL, "",
     "try a cage, tell in one line of JSON, and leave"},
};

static int check_word(const char *flag, const char *value, const char *a,
                      const char *b, struct err *e)
{
    if (strcmp(value, a) == 0 || strcmp(value, b) == 0)
        return 0;
    return err_set(e, ERR_INPUT, "--%s: \"%.20s\" is neither %s nor %s", flag,
                   value, a, b);
}

static int check(struct err *e)
{
    bool is_root = geteuid() == 0;

    if (check_word("isolation", set.isolation, "full", "none", e) < 0 ||
        check_word("egress", set.egress, "none", "open", e) < 0)
        return -1;
    if (is_root && strcmp(set.isolation, "none") == 0)
        return err_set(e, ERR_INPUT,
                       "--isolation none: not as root, where programs that "
                       "are not caged would have the whole machine");
    if (is_root && set.runner_uid == 0)
        return err_set(e, ERR_INPUT,
                       "as root --runner-uid must name a user, not 0");
    if (!is_root && (set.runner_uid || set.agent_uid))
        return err_set(e, ERR_INPUT,
                       "--agent-uid and --runner-uid are for root alone");
    if (set.is_probe)
        return 0;
    if (!set.dir || !set.agent || !set.shim)
        return err_set(e, ERR_INPUT,
                       "--dir, --agent and --shim are needed (see --help)");
    if (is_root && (set.agent_uid == 0 || set.agent_uid == set.runner_uid))
        return err_set(e, ERR_INPUT,
                       "as root --agent-uid must name a user, neither 0 nor "
                       "the runner's");
    return 0;
}

static struct cage_conf cage_of_settings(void)
{
    bool is_root = geteuid() == 0;

    return (struct cage_conf){
        .bwrap = set.bwrap,
        .is_full = strcmp(set.isolation, "full") == 0,
        .is_open = strcmp(set.egress, "open") == 0,
        .set_ids = is_root,
        .uid = is_root ? (uid_t)set.runner_uid : geteuid(),
        .agent_uid = is_root ? (uid_t)set.agent_uid : geteuid(),
        .tmp_bytes = set.tmp_bytes,
        .home_bytes = set.home_bytes,
        .shm_bytes = set.shm_bytes,
        .shim = set.shim,
    };
}

static int probe(void)
{
    struct cage_conf cage = cage_of_settings();
    struct err e = {0};
    char why[256] = "";
    int r;

    cage.is_full = true;
    cage.shim = NULL;
    r = access(set.bwrap, X_OK) == 0 ? cage_probe(&cage, why, sizeof(why), &e)
                                     : 0;
    if (r < 0)
        snprintf(why, sizeof(why), "%.250s", e.text);
    else if (r == 0 && !why[0])
        snprintf(why, sizeof(why),
                 "%.100s is not there: install bubblewrap (apt-get install "
                 "bubblewrap)",
                 set.bwrap);
    if (r == 1) {
        printf("{\"isolation\":\"full\"}\n");
        return EXIT_SUCCESS;
    }
    printf("{\"isolation\":\"none\",\"reason\":\"%s\"}\n", why);
    fprintf(stderr, "%s\n", why);
    return EXIT_FAILURE;
}

/* Closed is all that was inherited and is not for us; undumpable once what
 * only a dumpable process may open is open. */
static void shut(struct oom *oom)
{
    if (!set.has_life)
        close(KEEP_LIFE_FD);
    proc_close_from(set.has_broker ? KEEP_BROKER_FD + 1 : KEEP_BROKER_FD);
    oom_open(oom);
    proc_undumpable();
}

static int keep(struct err *e)
{
    int r;
    struct keep_conf conf = {
        .dir = set.dir,
        .agent = set.agent,
        .cache_dir = set.cache,
        .listen = set.listen,
        .has_life = set.has_life,
        .has_broker = set.has_broker,
        .cage = cage_of_settings(),
    };

    shut(&conf.oom);
    r = keep_run(&conf, e);
    oom_close(&conf.oom);
    if (r == 0)
        return EXIT_SUCCESS;
    log_err(e, "keeper.failed");
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int r =
        conf_load(rows, sizeof(rows) / sizeof(rows[0]), "podterm-keeper",
                  "keeps one session's agent and runner", argc, argv, NULL, &e);

    log_init("keeper", "info");
    if (r > 0)
        return EXIT_SUCCESS;
    if (r < 0 || check(&e) < 0) {
        fprintf(stderr, "podterm-keeper: %s\n", e.text);
        return 2;
    }
    if (set.is_probe)
        return probe();
    return keep(&e);
}
