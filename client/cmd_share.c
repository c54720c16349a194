/* podterm share: who may watch a session. */
#include "base/mem.h"
#include "base/own.h"
#include "client/command.h"
#include "client/options.h"
#include "client/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_TEXT_MAX 512

static struct options opt;
static bool is_removal;

static const struct conf_row rows[] = {
    OPTIONS_SERVER_ROWS(opt),
    {"remove", CONF_BOOL, &is_removal, 0, 0, NULL, "",
     "these may not watch any more, and are cut off"},
};

static bool share_has(char *const *users, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(users[i], name) == 0)
            return true;
    return false;
}

/* The list as it is to be. */
static struct json *share_list(const struct json *session, char *const *users,
                               size_t count)
{
    const struct json *old = json_get(session, "viewers");
    struct json *list = json_array();

    for (size_t i = 0; i < json_count(old); i++) {
        const char *name = json_str(json_at(old, i));

        if (name && !share_has(users, count, name))
            json_set_str(list, NULL, name);
    }
    for (size_t i = 0; !is_removal && i < count; i++)
        if (!share_has(users, i, users[i]))
            json_set_str(list, NULL, users[i]);
    return list;
}

/* Whoever is to be removed must be there, or a name was mistyped. */
static int share_check(const struct json *session, char *const *users,
                       size_t count, struct err *e)
{
    const struct json *old = json_get(session, "viewers");

    for (size_t i = 0; i < count; i++) {
        bool is_there = false;

        for (size_t k = 0; k < json_count(old); k++) {
            const char *name = json_str(json_at(old, k));

            is_there = is_there || (name && strcmp(name, users[i]) == 0);
        }
        if (!is_there)
            return err_set(e, ERR_INPUT,
                           "\"%.80s\" may not watch it anyway; nothing was "
                           "changed (podterm share ID lists who may)",
                           users[i]);
    }
    return 0;
}

static void share_tell(const struct json *session, const char *server)
{
    const struct json *list = json_get(session, "viewers");
    const char *id = json_get_str(session, "id");
    char name[SHARE_TEXT_MAX], sid[SHARE_TEXT_MAX];
    bool is_pending = false;

    for (size_t i = 0; i < json_count(list); i++) {
        const char *text = json_str(json_at(list, i));

        printf("%s\n", say_text(text ? text : "-", name, sizeof(name)));
    }
    json_get_bool(session, "viewers_pending", &is_pending);
    say_text(id ? id : "ID", sid, sizeof(sid));
    if (json_count(list) == 0) {
        say("nobody but you may watch it (podterm share %s USER lets one)",
            sid);
    } else {
        say("they watch with: podterm attach --view --server %s %s", server,
            sid);
        say("or in a browser, where the server has the page: %s/#/watch/%s",
            server, sid);
    }
    if (is_pending)
        say("the session has not heard of the change yet: who was removed may "
            "still watch for a moment");
}

static int share_session(const struct remote *remote, char *const *operands,
                         size_t count, struct err *e)
{
    own_json struct json *session = NULL, *changed = NULL, *list = NULL;
    const struct json *told;
    char sid[ID_SIZE];

    if (remote_find(remote, operands[0], sid, e) < 0)
        return -1;
    session = remote_get(remote, sid, e);
    if (!session)
        return -1;
    told = session;
    if (is_removal && share_check(session, operands + 1, count - 1, e) < 0)
        return -1;
    if (count > 1) {
        list = share_list(session, operands + 1, count - 1);
        changed = remote_viewers(remote, sid, list, e);
        if (!changed)
            return -1;
        told = changed;
    }
    if (opt.json)
        say_json(stdout, told);
    else
        share_tell(told, remote->server.base);
    return 0;
}

static int share_run(const struct command *c, int argc, char **argv)
{
    own_mem char **operands = NULL;
    struct err e = {0};
    struct remote remote;
    size_t count = 0;
    int got = options_load(c, argc, argv, &operands, &count, NULL, &e);

    if (got == 1)
        return 0;
    if (got == 0 && (count == 0 || (is_removal && count == 1)))
        got = err_set(&e, ERR_INPUT,
                      count ? "--remove whom? podterm share --remove ID USER..."
                            : "which session? podterm share ID [USER...] "
                              "(podterm ls lists them)");
    if (got < 0 || options_remote(&opt, &remote, &e) < 0)
        return say_failed(NULL, &e);
    got = share_session(&remote, operands, count, &e);
    options_remote_fini(&remote);
    return got < 0 ? say_failed(operands[0], &e) : 0;
}

const struct command command_share = {
    .name = "share",
    .summary = "let others watch a session",
    .usages = (const char *const[]){"[options] ID", "[options] ID USER...",
                                    "[options] --remove ID USER...", NULL},
    .about =
        (const char *const[]){
            "USER is whom the identity provider calls so (the subject of an "
            "identity token; the name behind --as at a development server). "
            "They see the terminal, what is kept of before too, and can type "
            "nothing. Without a USER it lists who may watch, one a line, and "
            "says what they have to type.",
            NULL},
    .rows = rows,
    .row_count = sizeof(rows) / sizeof(*rows),
    .operand = COMMAND_SESSION,
    .run = share_run,
};
