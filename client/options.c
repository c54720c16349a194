#include "client/options.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/archive.h"
#include "client/manual.h"
#include "client/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command_exit options_attach_exits[] = {
    {"0 to 255", "the program's own exit code"},
    {"128 + n", "the program was ended by signal n; or podterm was, or Ctrl-C "
                "left (130), and the session goes on unless its program had "
                "not started"},
    {"0", "also: detached; the session goes on"},
    {"125", "podterm failed, was refused, or was taken over by another "
            "attachment; or the session ended in another way than by its "
            "program. A sentence on standard error says which"},
    {NULL, NULL}};

/* "--name", "--name=value": does this argument name it? */
static bool options_is(const char *arg, const char *name)
{
    size_t len = strlen(name);

    return strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, len) == 0 &&
           (arg[2 + len] == 0 || arg[2 + len] == '=');
}

/* Does this flag take the next argument as its value? */
static bool options_wants_value(const struct command *c, const char *arg)
{
    if (strchr(arg, '='))
        return false;
    for (size_t i = 0; i < c->row_count; i++)
        if (c->rows[i].kind != CONF_BOOL && options_is(arg, c->rows[i].name))
            return true;
    return false;
}

static struct command_list *options_list_of(const struct command *c,
                                            const char *arg)
{
    for (struct command_list *l = c->lists; l && l->name; l++)
        if (options_is(arg, l->name))
            return l;
    return NULL;
}

static int options_add(struct command_list *l, int argc, char **argv, int *i,
                       struct err *e)
{
    const char *value = strchr(argv[*i], '=');

    if (value)
        value++;
    else if (*i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
        value = argv[++*i];
    if (!value || !value[0])
        return err_set(e, ERR_INPUT, "--%s: a value is missing", l->name);
    l->values = mem_resize(l->values, l->count + 1, sizeof(*l->values));
    l->values[l->count++] = value;
    return 0;
}

/* Is JSON asked for, whatever else is wrong with the command line? */
static bool options_want_json(char *const *flags, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(flags[i], "--json") == 0)
            return true;
    return false;
}

/* The command's own setting of it, which may come from the environment. */
static bool options_json(const struct command *c)
{
    for (size_t i = 0; i < c->row_count; i++)
        if (strcmp(c->rows[i].name, "json") == 0)
            return *(const bool *)c->rows[i].slot;
    return false;
}

/* An archive is not the command yet: our options may follow it. */
static bool options_is_file(const struct command *c, const char *text)
{
    return c->operand == COMMAND_FILE && archive_is_named(text);
}

/* Is it told, and nothing else done? */
static bool options_told(const struct command *c, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (c->is_prefix && !options_is_file(c, argv[i]))
                break;
            continue;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            manual_help(c, stdout);
        else if (strcmp(argv[i], "--version") == 0)
            printf("podterm %s\n", PODTERM_VERSION);
        else
            continue;
        return true;
    }
    return false;
}

/* argv apart: flags, and what is none. 0, or -1 with *e. */
static int options_split(const struct command *c, int argc, char **argv,
                         char **flags, size_t *flag_count, char **rest,
                         size_t *count, size_t *before, struct err *e)
{
    bool is_ours = true, has_mark = false;

    flags[(*flag_count)++] = argv[0];
    for (int i = 1; i < argc; i++) {
        struct command_list *l;

        if (is_ours && strcmp(argv[i], "--") == 0) {
            is_ours = false;
            has_mark = true;
            *before = *count;
            continue;
        }
        if (!is_ours || argv[i][0] != '-' || !argv[i][1]) {
            rest[(*count)++] = argv[i];
            is_ours = is_ours && (!c->is_prefix || options_is_file(c, argv[i]));
            continue;
        }
        l = options_list_of(c, argv[i]);
        if (l) {
            if (options_add(l, argc, argv, &i, e) < 0)
                return -1;
            continue;
        }
        flags[(*flag_count)++] = argv[i];
        if (options_wants_value(c, argv[i]) && i + 1 < argc &&
            strncmp(argv[i + 1], "--", 2) != 0)
            flags[(*flag_count)++] = argv[++i];
    }
    if (!has_mark)
        *before = *count;
    return 0;
}

int options_load(const struct command *c, int argc, char **argv,
                 char ***operands, size_t *count, size_t *before, struct err *e)
{
    own_mem char **flags = mem_zero((size_t)argc + 1, sizeof(*flags));
    own_mem char **rest = mem_zero((size_t)argc + 1, sizeof(*rest));
    own_mem char *program = mem_printf("podterm %s", c->name);
    size_t flag_count = 0, rest_count = 0, before_count = 0;

    if (options_told(c, argc, argv))
        return 1;
    if (options_split(c, argc, argv, flags, &flag_count, rest, &rest_count,
                      &before_count, e) < 0)
        return -1;
    say_as_json(options_want_json(flags, flag_count));
    if (conf_load(c->rows, c->row_count, program, c->summary, (int)flag_count,
                  flags, NULL, e) != 0)
        return -1;
    say_as_json(options_json(c));
    *operands = own_mem_give(&rest);
    *count = rest_count;
    if (before)
        *before = before_count;
    return 0;
}

int options_remote(const struct options *o, struct remote *remote,
                   struct err *e)
{
    *remote = (struct remote){.identity.command = o->identity_command};
    if (server_open(&remote->server, o->server, o->ca, e) < 0)
        return -1;
    remote->identity.as = o->as ? mem_str(o->as) : identity_login();
    seal_init();
    return 0;
}

void options_remote_fini(struct remote *remote)
{
    server_fini(&remote->server);
    free((char *)(uintptr_t)remote->identity.as);
    remote->identity.as = NULL;
}
