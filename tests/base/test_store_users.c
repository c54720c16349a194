/*
 * The users of infra/k8s/redis and what a thief of one can do with it, on a
 * Redis set up as infra/k8s/base sets it up.
 */
#include "base/store.h"

#include "base/digest.h"
#include "base/mem.h"
#include "base/own.h"
#include "base/yaml.h"
#include "tests/lib/child.h"
#include "tests/lib/manifests.h"
#include "tests/lib/programs.h"
#include "tests/lib/shelf.h"
#include "tests/lib/tree.h"

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

#include <cmocka.h>

#define MEMORY "16mb"
#define LITTER 32768 /* bytes */
#define LITTERS 1000
#define LITTERS_MAX 200000
#define ROW 20000
#define ASKED 20000 /* 400 MB of rows */
#define CUT_MS 10000
#define TIMED_OUT 124 /* timeout(1)'s own code */

/* --- users, as shipped --- */

#define ACL_FILE "infra/k8s/redis/users.acl.example"

static const char *const users[] = {"controller", "gateway", "keda"};
static const char *const acl_words[] = {"@controller@", "@gateway@", "@keda@"};

/* The file as infra/k8s/make-keys fills it; a password is its user's name. */
static char *acl_text(void)
{
    char *text = tree_get(ACL_FILE, &(size_t){0});

    for (size_t i = 0; i < 3; i++) {
        char *at = strstr(text, acl_words[i]), *next;
        uint8_t hash[SHA256_BYTES];
        char hex[SHA256_HEX + 1];

        assert_non_null(at);
        sha256(users[i], strlen(users[i]), hash);
        hex_encode(hash, sizeof(hash), hex);
        next = mem_printf("%.*s#%s%s", (int)(at - text), text, hex,
                          at + strlen(acl_words[i]));
        free(text);
        text = next;
    }
    return text;
}

#define CONF_FILE "infra/k8s/base/redis.conf"

/* The settings as shipped, but for where things are. */
static char *conf_text(const char *dir)
{
    own_mem char *text = tree_get(CONF_FILE, &(size_t){0});
    char *rest = text, *line, *out = mem_str("");

    while ((line = strsep(&rest, "\n"))) {
        own_mem char *before = out;

        if (strncmp(line, "aclfile ", 8) == 0)
            out = mem_printf("%saclfile %s/users.acl\n", before, dir);
        else if (strncmp(line, "dir ", 4) == 0 ||
                 strncmp(line, "bind ", 5) == 0)
            out = mem_str(before);
        else
            out = mem_printf("%s%s\n", before, line);
    }
    return out;
}

struct acl {
    struct redisd d;
    struct store *stores[3];
    struct redis *raw[3];
    char *files[3];
};

static void acl_start(struct acl *a)
{
    /* (less memory, so that a test fills it soon) */
    static const char *const more[] = {"--include", "DIR/redis.conf",
                                       "--maxmemory", MEMORY, NULL};
    char *dir = scratch_new();
    own_mem char *users_acl = acl_text(), *redis_conf = conf_text(dir);

    tree_put(dir, "users.acl", users_acl);
    tree_put(dir, "redis.conf", redis_conf);
    for (size_t i = 0; i < 3; i++) {
        a->files[i] = mem_printf("%s/%s", dir, users[i]);
        tree_put(dir, users[i], users[i]);
        assert_int_equal(chmod(a->files[i], 0600), 0);
    }
    redisd_start(&a->d, dir, more);
    for (size_t i = 0; i < 3; i++) {
        struct store_conf conf = {
            .where = a->d.url, .user = users[i], .password_file = a->files[i]};
        struct redis_conf raw = {.user = users[i],
                                 .password_file = a->files[i]};
        struct err e = {0};

        a->stores[i] = store_open(&conf, &e);
        assert_non_null(a->stores[i]);
        assert_int_equal(redis_url_parse(a->d.url, &raw, &e), 0);
        a->raw[i] = redis_new(&raw, &e);
        assert_non_null(a->raw[i]);
        assert_int_equal(store_ping(a->stores[i], &e), 0);
    }
}

static void acl_stop(struct acl *a)
{
    for (size_t i = 0; i < 3; i++) {
        store_free(a->stores[i]);
        redis_free(a->raw[i]);
        free(a->files[i]);
    }
    redisd_stop(&a->d);
}

/* One command in words, as this user: what came, the caller's, or NULL. */
static struct redis_reply *as(struct redis *r, const char *line, struct err *e)
{
    char *words = mem_str(line), *rest = words, *word;
    struct redis_cmd c = {0};
    struct redis_reply *reply;

    while ((word = strsep(&rest, " ")))
        redis_arg(&c, word);
    reply = redis_call(r, &c, NULL, e);
    free(words);
    return reply;
}

static void is_denied(struct redis *r, const char *line)
{
    /* itself; within a script, as Redis 7.0 says it and as later ones do */
    static const char *const said[] = {"NOPERM", "executing the script can't",
                                       "ACL failure in script"};
    struct err e = {0};
    bool is_so = false;

    if (as(r, line, &e))
        fail_msg("%s was allowed", line);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        is_so = is_so || strstr(e.text, said[i]);
    if (!is_so)
        fail_msg("%s: %s", line, e.text);
}

static void is_allowed(struct redis *r, const char *line)
{
    struct err e = {0};
    struct redis_reply *reply = as(r, line, &e);

    if (!reply)
        fail_msg("%s: %s", line, e.text);
    redis_reply_free(reply);
}

static void the_controllers_user_does_all_of_the_store(void **arg)
{
    struct store_session *row = shelf_row("ann"), *rows = NULL;
    const uint8_t hash[32] = {0};
    struct store_rev revs[4];
    struct acl a = {0};
    struct store *s;
    struct err e = {0};
    struct buf out;
    char next[64], warning[160];

    (void)arg;
    acl_start(&a);
    s = a.stores[0];
    buf_init(&out, STORE_LAUNCH_MAX);
    assert_int_equal(
        store_create_checked(s, row, 1, "k", hash, "blob", 4, NOW_S, &e),
        STORE_CREATED);
    assert_int_equal(store_launch_get(s, row->id, &out, &e), 0);
    assert_int_equal(store_launch_drop(s, row->id, &e), 0);
    assert_int_equal(store_update_if(s, row->id, shelf_counts, NULL, NULL, &e),
                     0);
    assert_int_equal(store_list(s, NULL, NULL, false, "", 5, &rows, next, &e),
                     1);
    free(rows);
    assert_int_equal(store_changed_since(s, 0, revs, 4, &e), 1);
    assert_int_equal(store_demand(s, 3, &e), 0);
    assert_int_equal(store_demand(s, 1, &e), 0);
    assert_int_equal(store_demand(s, 0, &e), 0);
    assert_false(store_warning(s, warning));
    shelf_end(s, row->id, 5);
    assert_int_equal(store_restore(s, row, &e), -1);
    assert_int_equal(e.kind, ERR_CONFLICT);
    assert_int_equal(store_prune(s, 6, &e), 1);
    assert_int_equal(store_restore(s, row, &e), 0);
    is_denied(a.raw[0], "FLUSHALL");
    is_denied(a.raw[0], "CONFIG GET requirepass");
    is_denied(a.raw[0], "KEYS *");
    is_denied(a.raw[0], "SET elsewhere 1");
    is_denied(a.raw[0], "ACL LIST");
    is_denied(a.raw[0], "SHUTDOWN");
    buf_fini(&out);
    free(row);
    acl_stop(&a);
}

static void the_gateways_user_reads_rows_and_spends_ids_alone(void **arg)
{
    static const char *const denied[] = {
        "SET podterm:s:x 1",
        "HSET podterm:s:x row 1",
        "SET podterm:demand 1",
        "GET podterm:l:x",
        "SET podterm:l:x 1",
        "DEL podterm:t:x",
        "GET podterm:t:x",
        "SET podterm:t:x 1 GET",
        "EXPIRE podterm:t:x 1",
        "ZADD podterm:revs 1 x",
        "HMGET podterm:k:x hash",
        "ZRANGEBYSCORE podterm:live 0 1",
        "EVAL return(1) 0",
        "SET podterm:rev 1",
        "INFO memory",
        "KEYS *",
        "CONFIG GET requirepass",
        "ACL LIST",
        "LLEN podterm:demand",
        "PUBLISH podterm:x 1",
        "SUBSCRIBE podterm:x",
        "MONITOR",
    };
    struct store_session *row = mem_zero(1, sizeof(*row));
    struct store_rev revs[4];
    struct acl a = {0};
    char id[ID_SIZE];
    struct err e = {0};

    (void)arg;
    acl_start(&a);
    shelf_plain(a.stores[0], "ann", id);
    assert_int_equal(store_get(a.stores[1], id, row, &e), 0);
    assert_int_equal(store_changed_since(a.stores[1], 0, revs, 4, &e), 1);
    assert_int_equal(store_spend(a.stores[1], "aaa", 100, 50, &e), 0);
    assert_int_equal(store_spend(a.stores[1], "aaa", 100, 50, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++)
        is_denied(a.raw[1], denied[i]);
    assert_int_equal(
        store_update_if(a.stores[1], id, shelf_counts, NULL, NULL, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    assert_int_equal(
        shelf_create(a.stores[1], "eve", 9, "", 0, NOW_S, NULL, &e), -1);
    free(row);
    acl_stop(&a);
}

static void kedas_user_reads_the_demand_alone(void **arg)
{
    /* what KEDA's scaler for lists runs */
    static const char look[] =
        "local\tl=KEYS[1];local\tt=redis.call('type',l).ok;"
        "local\tc={list='llen',none='llen'};"
        "return\tredis.call(c[t],l)";
    static const char *const denied[] = {
        "RPUSH podterm:demand 1",
        "DEL podterm:demand",
        "LLEN podterm:live",
        "TYPE podterm:rev",
        "HMGET podterm:s:x row",
        "SET podterm:t:x 1",
        "GET podterm:l:x",
        "KEYS *",
        "EVAL redis.call('DEL',KEYS[1]) 1 podterm:demand",
        "EVAL redis.call('LLEN','podterm:live') 0",
    };
    struct acl a = {0};
    struct redis_reply *r;
    struct err e = {0};
    char *line;

    (void)arg;
    acl_start(&a);
    assert_int_equal(store_demand(a.stores[0], 3, &e), 0);
    is_allowed(a.raw[2], "LLEN podterm:demand");
    line = mem_printf("EVAL %s 1 podterm:demand", look);
    r = as(a.raw[2], line, &e);
    free(line);
    if (!r)
        fail_msg("%s", e.text);
    assert_int_equal(r->integer, 3);
    redis_reply_free(r);
    for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++)
        is_denied(a.raw[2], denied[i]);
    acl_stop(&a);
}

static void without_a_user_nothing_answers(void **arg)
{
    struct acl a = {0};
    struct err e = {0};

    (void)arg;
    acl_start(&a);
    assert_null(as(a.d.redis, "PING", &e));
    assert_non_null(strstr(e.text, "NOAUTH"));
    acl_stop(&a);
}

/* --- what a thief of one does --- */

/* The n-th: without an end, with a far one, under a name that is too long; then
 * small ones, for which there is room longer. */
static char *litter(int n)
{
    own_mem char *much = mem_zero(LITTER + 1, 1);

    memset(much, 'x', LITTER);
    switch (n < LITTERS ? n % 3 : 3) {
    case 0:
        return mem_printf("SET podterm:t:%d %s", n, much);
    case 1:
        return mem_printf("SET podterm:t:%d 1 EX 99999999", n);
    case 2:
        return mem_printf("SET podterm:t:%d%s 1 EX 60", n, much);
    default:
        return mem_printf("SET podterm:t:%d 1", n);
    }
}

/* As many as there is room for, from the n-th on; how many that were. */
static int litter_all(struct redis *r, int *n)
{
    struct err e = {0};

    for (int kept = 0;; ++*n) {
        own_mem char *line = litter(*n);
        own_redis_reply struct redis_reply *reply = as(r, line, &e);

        assert_true(*n < LITTERS_MAX);
        if (reply) {
            kept++;
            continue;
        }
        assert_non_null(strstr(e.text, "OOM"));
        if (*n >= LITTERS)
            return kept;
    }
}

/* (Redis gives room back that its connections had: then he comes again.) */
static void a_gateway_that_fills_redis_leaves_it_usable(void **arg)
{
    struct acl a = {0};
    struct err e = {0};
    int kept = 0, n = 0;

    (void)arg;
    acl_start(&a);
    assert_int_equal(store_spend(a.stores[1], "spent", 100, 50, &e), 0);
    assert_int_equal(store_sweep(a.stores[0], &e), 0);
    do
        kept += litter_all(a.raw[1], &n);
    while (shelf_create(a.stores[0], "ann", LITTERS, "", 0, NOW_S, NULL, &e) >=
           0);
    assert_non_null(strstr(e.text, "OOM"));
    assert_int_equal(store_sweep(a.stores[0], &e), kept);
    assert_int_equal(
        shelf_create(a.stores[0], "ann", LITTERS, "", 0, NOW_S, NULL, &e),
        STORE_CREATED);
    assert_int_equal(store_spend(a.stores[1], "spent", 100, 50, &e), -1);
    assert_int_equal(e.kind, ERR_TOKEN);
    acl_stop(&a);
}

/* A connection as the gateway. */
static int dial(const struct acl *a)
{
    static const char login[] = "AUTH gateway gateway\r\n";
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)a->d.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char ok[5];

    assert_int_equal(
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(write(fd, login, strlen(login)), strlen(login));
    assert_int_equal(recv(fd, ok, sizeof ok, MSG_WAITALL), sizeof ok);
    assert_memory_equal(ok, "+OK\r\n", sizeof ok);
    return fd;
}

static void a_value_larger_than_any_of_ours_is_refused(void **arg)
{
    static const char set[] =
        "*3\r\n$3\r\nSET\r\n$11\r\npodterm:t:x\r\n$2000000\r\n";
    static const char no[] = "-ERR Protocol error: invalid bulk length";
    struct acl a = {0};
    own_fd int fd = -1;
    char said[sizeof no] = "";

    (void)arg;
    acl_start(&a);
    fd = dial(&a);
    assert_int_equal(write(fd, set, strlen(set)), strlen(set));
    recv(fd, said, strlen(no), MSG_WAITALL);
    assert_string_equal(said, no);
    acl_stop(&a);
}

static void a_gateway_that_reads_no_answer_is_cut_off(void **arg)
{
    static const char ask[] = "HMGET podterm:s:x row\r\n";
    own_mem char *much = mem_zero(ROW + 1, 1), *line = NULL;
    struct pollfd p = {.events = POLLRDHUP};
    struct acl a = {0};
    own_fd int fd = -1;

    (void)arg;
    acl_start(&a);
    memset(much, 'x', ROW);
    line = mem_printf("HSET podterm:s:x row %s", much);
    is_allowed(a.raw[0], line);
    fd = dial(&a);
    for (int i = 0; i < ASKED; i++)
        if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) < 0)
            break;
    p.fd = fd;
    assert_int_equal(poll(&p, 1, CUT_MS), 1);
    is_allowed(a.raw[0], "HSET podterm:s:y row 1");
    acl_stop(&a);
}

/* The words of the probe in infra/k8s/base/redis.yaml. */
static const struct json *probe_words(const struct json *set)
{
    static const char *const way[] = {"spec", "template", "spec", "containers"};
    const struct json *at = set;

    for (size_t i = 0; i < sizeof way / sizeof *way; i++)
        at = json_get(at, way[i]);
    at = json_get(json_get(json_at(at, 0), "livenessProbe"), "exec");
    return json_get(at, "command");
}

/* Its exit code, given 6 s: longer than Redis would by itself keep quiet
 * about a script that goes on. */
static int probe(const struct acl *a)
{
    own_mem char *text = tree_get("infra/k8s/base/redis.yaml", &(size_t){0});
    own_mem char *port = mem_printf("%d", a->d.port);
    char *rest = text, *first = manifests_next(&rest);
    own_json struct json *set = yaml_parse(first, strlen(first), NULL);
    const struct json *words = probe_words(set);
    struct child c = {.argv = (const char *const[]){
                          "timeout", "6", json_str(json_at(words, 0)), "-p",
                          port, json_str(json_at(words, 1)), NULL}};

    assert_int_equal(json_count(words), 2);
    child_run(&c);
    child_fini(&c);
    return c.code;
}

/* Redis cannot be asked to allow KEDA this one script and no other. */
static void kedas_script_without_end_is_seen_by_the_probe(void **arg)
{
    static const char *const scripts[] = {
        "while\ttrue\tdo\tend",
        /* which Redis would never come to look at */
        "string.find(string.rep('a',9999),string.rep('a?',9999)..'b')",
    };

    (void)arg;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        own_mem char *line = mem_printf("EVAL %s 0", scripts[i]);
        struct acl a = {0};
        struct err e = {0};

        acl_start(&a);
        assert_int_equal(probe(&a), 0);
        assert_null(as(a.raw[2], line, &e));
        assert_int_equal(probe(&a), TIMED_OUT);
        redisd_kill(&a.d);
        assert_int_not_equal(probe(&a), 0);
        acl_stop(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controllers_user_does_all_of_the_store),
        cmocka_unit_test(the_gateways_user_reads_rows_and_spends_ids_alone),
        cmocka_unit_test(kedas_user_reads_the_demand_alone),
        cmocka_unit_test(without_a_user_nothing_answers),
        cmocka_unit_test(a_gateway_that_fills_redis_leaves_it_usable),
        cmocka_unit_test(a_value_larger_than_any_of_ours_is_refused),
        cmocka_unit_test(a_gateway_that_reads_no_answer_is_cut_off),
        cmocka_unit_test(kedas_script_without_end_is_seen_by_the_probe),
    };

    signal(SIGPIPE, SIG_IGN); /* as the services do */
    return cmocka_run_group_tests_name("base/store: users of a Redis", tests,
                                       NULL, NULL);
}
