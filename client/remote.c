#include "client/remote.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOTE_TRIES 4
#define REMOTE_FIRST_PAUSE_MS 200
#define REMOTE_PAGES_MAX 1000

static enum err_kind remote_kind(int status)
{
    switch (status) {
    case 401:
        return ERR_TOKEN;
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_ABSENT;
    case 409:
        return ERR_ENDED;
    case 422:
        return ERR_CONFLICT;
    case 429:
        return ERR_BUSY;
    default:
        return status >= 500 ? ERR_SYSTEM : ERR_INPUT;
    }
}

/* What the user can make of a refusal. */
static int remote_problem(const struct remote *a, int status,
                          const struct json *j, struct err *e)
{
    const char *detail = json_get_str(j, "detail");
    const enum err_kind kind = remote_kind(status);
    const char *hint = a->identity.command && a->identity.command[0]
                           ? " (what the identity command prints is no longer "
                             "good: sign in anew)"
                           : "";

    if (!detail || !detail[0])
        detail = json_get_str(j, "title");
    if (!detail || !detail[0])
        return err_set(e, kind, "the server refused (%d) without a reason",
                       status);
    if (kind == ERR_ABSENT)
        return err_set(e, kind,
                       "there is no such session of yours (podterm ls --all "
                       "lists them)");
    if (kind == ERR_TOKEN)
        return err_set(e, kind, "your identity was refused: %s%s", detail,
                       hint);
    if (kind == ERR_SYSTEM)
        return err_set(e, kind,
                       "the server cannot do it now (%s); try again in a "
                       "moment",
                       detail);
    return err_set(e, kind, "%s", detail);
}

static struct json *remote_call(const struct remote *a, const char *method,
                                const char *path, const char *key,
                                const char *body, struct json **ended,
                                struct err *e)
{
    char *bearer = identity_new(&a->identity, &a->server, a->is_quiet, e);
    struct json *j;
    int status = 0;

    if (!bearer)
        return NULL;
    j = server_call(&a->server, method, path, bearer, key, body, &status, e);
    identity_free(bearer);
    if (!j || (status >= 200 && status < 300))
        return j;
    remote_problem(a, status, j, e);
    if (ended && status == 409 && json_get(j, "session"))
        *ended = json_dup(json_get(j, "session"));
    json_free(j);
    return NULL;
}

static bool remote_is_passing(const struct err *e)
{
    return e->kind == ERR_PEER || e->kind == ERR_SYSTEM;
}

struct json *remote_create(const struct remote *a, const struct json *body,
                           struct err *e)
{
    own_mem char *text = json_text(body);
    char key[ID_SIZE];
    struct json *j = NULL;
    int pause_ms = REMOTE_FIRST_PAUSE_MS;

    random_id(key);
    for (int i = 0; i < REMOTE_TRIES && !j; i++) {
        if (i > 0) {
            if (a->server.is_cancelled && atomic_load(a->server.is_cancelled))
                break;
            poll(NULL, 0, pause_ms);
            pause_ms *= 2;
        }
        j = remote_call(a, "POST", "/api/sessions", key, text, NULL, e);
        if (!j && !remote_is_passing(e))
            break;
    }
    if (j && !json_get_str(j, "token")) {
        json_free(j);
        j = NULL;
        err_set(e, ERR_ENDED,
                "the session that was made has ended already; "
                "podterm run starts another");
    }
    return j;
}

struct json *remote_token(const struct remote *a, const char *sid,
                          enum role role, struct json **ended, struct err *e)
{
    own_mem char *path = mem_printf("/api/sessions/%s/token", sid);
    own_mem char *body = mem_printf("{\"role\":\"%s\"}", role_name(role));

    *ended = NULL;
    return remote_call(a, "POST", path, NULL, body, ended, e);
}

struct json *remote_get(const struct remote *a, const char *sid, struct err *e)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);

    return remote_call(a, "GET", path, NULL, NULL, NULL, e);
}

struct json *remote_list(const struct remote *a, bool all, const char *cursor,
                         struct err *e)
{
    own_mem char *at = server_quote(cursor ? cursor : "");
    own_mem char *path =
        mem_printf("/api/sessions?limit=100%s%s%s", all ? "" : "&live=true",
                   cursor ? "&cursor=" : "", at);

    return remote_call(a, "GET", path, NULL, NULL, NULL, e);
}

struct json *remote_delete(const struct remote *a, const char *sid,
                           struct err *e)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);

    return remote_call(a, "DELETE", path, NULL, NULL, NULL, e);
}

struct json *remote_viewers(const struct remote *a, const char *sid,
                            const struct json *viewers, struct err *e)
{
    own_mem char *path = mem_printf("/api/sessions/%s", sid);
    own_mem char *list = json_text(viewers);
    own_mem char *body = mem_printf("{\"viewers\":%s}", list);

    return remote_call(a, "PATCH", path, NULL, body, NULL, e);
}

char *remote_flags(const struct remote *a)
{
    const char *server = getenv("PODTERM_SERVER"), *as = getenv("PODTERM_AS");
    own_mem char *login = identity_login();
    const bool has_command = a->identity.command && a->identity.command[0];
    size_t len;
    bool is_usual;

    server = server ? server : REMOTE_SERVER;
    len = strlen(server);
    while (len > 0 && server[len - 1] == '/')
        len--;
    is_usual = strlen(a->server.base) == len &&
               strncmp(a->server.base, server, len) == 0;
    return mem_printf(
        "%s%s%s%s", is_usual ? "" : " --server ",
        is_usual ? "" : a->server.base,
        has_command || !strcmp(a->identity.as, as ? as : login) ? "" : " --as ",
        has_command || !strcmp(a->identity.as, as ? as : login)
            ? ""
            : a->identity.as);
}

/* --- ids --- */

/* Look through one page; -1 when a second one fits. */
static int remote_find_in(const struct json *page, const char *text,
                          char sid[ID_SIZE], struct err *e)
{
    const struct json *list = json_get(page, "sessions");

    for (size_t i = 0; i < json_count(list); i++) {
        const char *id = json_get_str(json_at(list, i), "id");

        if (!id || !id_is_valid(id) || strncmp(id, text, strlen(text)) != 0)
            continue;
        if (sid[0] && strcmp(sid, id) != 0)
            return err_set(
                e, ERR_INPUT,
                "more than one session starts with %s: give more of its id "
                "(podterm ls)",
                text);
        snprintf(sid, ID_SIZE, "%s", id);
    }
    return 0;
}

static int remote_search(const struct remote *a, const char *text, bool all,
                         char found[ID_SIZE], struct err *e)
{
    own_mem char *cursor = NULL;

    for (int i = 0; i < REMOTE_PAGES_MAX; i++) {
        own_json struct json *page = remote_list(a, all, cursor, e);
        const char *next = json_get_str(page, "next_cursor");

        if (!page || remote_find_in(page, text, found, e) < 0)
            return -1;
        free(cursor);
        cursor = next ? mem_str(next) : NULL;
        if (!cursor)
            break;
    }
    return 0;
}

int remote_find(const struct remote *a, const char *text, char sid[ID_SIZE],
                struct err *e)
{
    char found[ID_SIZE] = "";
    size_t len = strlen(text);

    if (id_is_valid(text)) {
        snprintf(sid, ID_SIZE, "%s", text);
        return 0;
    }
    if (len < REMOTE_PREFIX_MIN || len > ID_LEN ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz234567") != len)
        return err_set(e, ERR_INPUT,
                       "\"%.40s\" is no session id (give it whole, or its "
                       "first %d characters at least)",
                       text, REMOTE_PREFIX_MIN);
    /* a live one is meant before one that has ended */
    if (remote_search(a, text, false, found, e) < 0 ||
        (!found[0] && remote_search(a, text, true, found, e) < 0))
        return -1;
    if (!found[0])
        return err_set(
            e, ERR_ABSENT,
            "no session of yours starts with %s (podterm ls --all lists "
            "them)",
            text);
    snprintf(sid, ID_SIZE, "%s", found);
    return 0;
}
