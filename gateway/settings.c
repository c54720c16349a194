#include "gateway/settings.h"

#include "base/conf.h"
#include "base/mem.h"
#include "base/token.h"
#include "base/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOUR_MS 3600000

/* One item out of text up to the next comma, white space around it cut. */
static char *item_take(const char **text)
{
    const char *end = strchrnul(*text, ',');
    const char *from = *text, *to = end;
    char *item;

    while (from < to && isspace((unsigned char)*from))
        from++;
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    item = mem_strn(from, (size_t)(to - from));
    for (char *c = item; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *text = *end ? end + 1 : end;
    return item;
}

static int text_list_parse(const char *text, const char *name,
                           int (*check)(const char *item, struct err *e),
                           struct text_list *out, struct err *e)
{
    while (text && *text) {
        char *item = item_take(&text);

        if (out->count == SETTINGS_LIST_MAX || !*item) {
            free(item);
            return err_set(e, ERR_INPUT, "--%s: an empty item, or more than %d",
                           name, SETTINGS_LIST_MAX);
        }
        out->items[out->count++] = item;
        if (strcmp(item, "*") != 0 && check(item, e) < 0)
            return err_wrap(e, "--%s", name);
    }
    return 0;
}

bool text_list_has(const struct text_list *l, const char *text, size_t len)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->items[i], "*") == 0)
            return true;
        if (strlen(l->items[i]) == len &&
            strncasecmp(l->items[i], text, len) == 0)
            return true;
    }
    return false;
}

static int settings_judge(const struct settings *s, struct err *e)
{
    if (!s->store || !*s->store)
        return err_set(e, ERR_INPUT,
                       "--store is missing: path of the "
                       "controller's podterm.db, or redis://HOST:PORT");
    if (!s->seal_key_file || !*s->seal_key_file)
        return err_set(e, ERR_INPUT,
                       "--seal-key-file is missing: the key "
                       "file shared with the controller");
    if (!s->jwks_file == !s->jwks_url)
        return err_set(e, ERR_INPUT,
                       "exactly one of --jwks-file and --jwks-url is needed");
    if (!s->issuer || !s->audience)
        return err_set(e, ERR_INPUT,
                       "--issuer and --audience are needed: "
                       "who mints tokens, and for whom");
    if (!s->tls_cert != !s->tls_key)
        return err_set(e, ERR_INPUT,
                       "--tls-cert and --tls-key go together: set both, or "
                       "neither");
    if (conf_file("tls-cert", s->tls_cert, false, e) < 0 ||
        conf_file("tls-key", s->tls_key, false, e) < 0 ||
        conf_file("jwks-ca", s->jwks_ca, false, e) < 0 ||
        conf_file("redis-password-file", s->redis_password_file, false, e) <
            0 ||
        conf_file("redis-ca", s->redis_ca, false, e) < 0)
        return -1;
    if (!s->agent_cidrs_text || !*s->agent_cidrs_text)
        return err_set(e, ERR_INPUT,
                       "--agent-cidrs is missing: the networks "
                       "agents may be dialled in");
    return 0;
}

static int settings_lists(struct settings *s, struct err *e)
{
    if (cidr_list_parse(s->agent_cidrs_text, &s->agent_cidrs, e) < 0)
        return err_wrap(e, "--agent-cidrs");
    if (s->trusted_text && *s->trusted_text &&
        cidr_list_parse(s->trusted_text, &s->trusted, e) < 0)
        return err_wrap(e, "--trusted-proxies");
    if (text_list_parse(s->origins_text, "origins", url_check_origin,
                        &s->origins, e) < 0)
        return -1;
    return text_list_parse(s->hosts_text, "hosts", url_check_host, &s->hosts,
                           e);
}

int settings_load(struct settings *s, int argc, char **argv, struct err *e)
{
    /* clang-format off */
    const struct conf_row rows[] = {
        {"listen", CONF_STR, &s->listen, 1, 128, "127.0.0.1:8081", "host:port", "where clients connect"},
        {"metrics-listen", CONF_STR, &s->metrics_listen, 1, 128, NULL, "host:port", "plain HTTP for /livez /readyz /metrics"},
        {"store", CONF_STR, &s->store, 1, 4096, NULL, "path|URL", "the controller's SQLite store, or redis://HOST:PORT[/DB], rediss:// with TLS"},
        {"redis-user", CONF_STR, &s->redis_user, 1, 256, NULL, "", "user of that Redis (default: its default user)"},
        {"redis-password-file", CONF_STR, &s->redis_password_file, 1, 4096, NULL, "path", "the user's password; read again for each connection"},
        {"redis-ca", CONF_STR, &s->redis_ca, 1, 4096, NULL, "path", "authorities for rediss:// (default: the system's)"},
        {"seal-key-file", CONF_STR, &s->seal_key_file, 1, 4096, NULL, "path", "key that opens sealed session keys"},
        {"jwks-file", CONF_STR, &s->jwks_file, 1, 4096, NULL, "path", "public keys of session tokens"},
        {"jwks-url", CONF_STR, &s->jwks_url, 1, 2048, NULL, "https URL", "the same, fetched"},
        {"jwks-ca", CONF_STR, &s->jwks_ca, 1, 4096, NULL, "path", "authorities for --jwks-url (default: the system's)"},
        {"issuer", CONF_STR, &s->issuer, 1, TOKEN_STR_MAX - 1, NULL, "", "iss of session tokens"},
        {"audience", CONF_STR, &s->audience, 1, TOKEN_STR_MAX - 1, NULL, "", "aud of session tokens: the installation's name"},
        {"agent-cidrs", CONF_STR, &s->agent_cidrs_text, 1, 4096, NULL, "networks", "where agents may be dialled, comma-separated"},
        {"origins", CONF_STR, &s->origins_text, 0, 4096, NULL, "origins", "web origins that may attach; * = any; none = no browser"},
        {"hosts", CONF_STR, &s->hosts_text, 0, 4096, NULL, "host:port", "Host headers answered, else 421; none = any"},
        {"tls-cert", CONF_STR, &s->tls_cert, 1, 4096, NULL, "path", "certificate chain (PEM); reread when it changes"},
        {"tls-key", CONF_STR, &s->tls_key, 1, 4096, NULL, "path", "its key (PEM)"},
        {"trusted-proxies", CONF_STR, &s->trusted_text, 0, 4096, NULL, "networks", "peers whose X-Forwarded-For is believed"},
        {"proxy-hops", CONF_INT, &s->proxy_hops, 1, 16, "1", "entries", "the client's place in X-Forwarded-For from the right"},
        {"log-level", CONF_STR, &s->log_level, 1, 64, "info", "", "debug, info, warn or error"},
        {"hello-ms", CONF_INT, &s->hello_ms, 100, 60000, "10000", "ms", "accept to a verified HELLO"},
        {"dial-ms", CONF_INT, &s->dial_ms, 100, 60000, "10000", "ms", "dialling an agent, TLS and upgrade included"},
        {"agent-lost-ms", CONF_INT, &s->lost_ms, 0, 60000, "300", "ms", "wait for the session's end when its agent is lost"},
        {"start-timeout-ms", CONF_INT, &s->start_ms, 1000, HOUR_MS, "600000", "ms", "a session may be pending"},
        {"half-close-ms", CONF_INT, &s->half_close_ms, 100, 600000, "10000", "ms", "one side is done: for the other"},
        {"linger-ms", CONF_INT, &s->linger_ms, 100, 60000, "3000", "ms", "for our last words to a client"},
        {"drain-ms", CONF_INT, &s->drain_ms, 0, HOUR_MS, "10000", "ms", "SIGTERM to closing who is left with 1012"},
        {"ping-ms", CONF_INT, &s->ping_ms, 50, 600000, "8000", "ms", "silence after which a client is pinged (below what proxies allow)"},
        {"agent-ping-ms", CONF_INT, &s->agent_ping_ms, 50, 600000, "24000", "ms", "silence after which an agent is pinged"},
        {"dead-ms", CONF_INT, &s->dead_ms, 50, 600000, "30000", "ms", "silence after a ping that ends a leg"},
        {"poll-ms", CONF_INT, &s->poll_ms, 1, 10000, "10", "ms", "asking the store, only while somebody waits"},
        {"jwks-refresh-ms", CONF_INT, &s->jwks_refresh_ms, 1000, 60000, "30000", "ms", "rereading the key set"},
        {"token-margin-s", CONF_INT, &s->token_margin_s, 0, 60, "5", "s", "a token is not held nearer to its end"},
        {"token-skew-s", CONF_INT, &s->skew_s, 0, TOKEN_SKEW_S, "30", "s", "forgiven between our clock and the minter's"},
        {"unproven-max", CONF_INT, &s->unproven_max, 1, 1000000, "1024", "connections", "without a verified HELLO, at once"},
        {"unproven-per-address", CONF_INT, &s->unproven_addr_max, 1, 1000000, "128", "connections", "of one address or IPv6 /64"},
        {"attached-max", CONF_INT, &s->attached_max, 1, 1000000, "10000", "attachments", "at once"},
        {"attached-per-address", CONF_INT, &s->attached_addr_max, 1, 1000000, "1000", "attachments", "of one address or IPv6 /64"},
        {"attached-per-user", CONF_INT, &s->attached_user_max, 1, 1000000, "64", "attachments", "of one subject"},
        {"threads", CONF_INT, &s->threads, 1, 64, "2", "threads", "for tokens and the store"},
    };
    /* clang-format on */
    int rc;

    *s = (struct settings){0};
    rc = conf_load(rows, sizeof(rows) / sizeof(rows[0]), "podterm-gateway",
                   "relay terminals between clients and agents", argc, argv,
                   NULL, e);
    if (rc)
        return rc;
    if (settings_judge(s, e) < 0)
        return -1;
    return settings_lists(s, e);
}

static void text_list_fini(struct text_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    l->count = 0;
}

void settings_fini(struct settings *s)
{
    cidr_list_fini(&s->agent_cidrs);
    cidr_list_fini(&s->trusted);
    text_list_fini(&s->origins);
    text_list_fini(&s->hosts);
}
