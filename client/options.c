#include "client/options.h"

#include "base/mem.h"
#include "base/own.h"
#include "base/seal.h"
#include "client/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "--name", "--name=value": does this argument name it? */
static bool options_is(const char *arg, const char *name)
{
    size_t len = strlen(name);

    return strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, len) == 0 &&
           (arg[2 + len] == 0 || arg[2 + len] == '=');
}

/* Does this flag take the next argument as its value? */
static bool options_wants_value(const struct options_command *c,
                                const char *arg)
{
    if (strchr(arg, '='))
        return false;
    for (size_t i = 0; i < c->row_count; i++)
        if (c->rows[i].kind != CONF_BOOL && options_is(arg, c->rows[i].name))
            return true;
    return false;
}

static struct options_list *options_list_of(const struct options_command *c,
                                            const char *arg)
{
    for (struct options_list *l = c->lists; l && l->name; l++)
        if (options_is(arg, l->name))
            return l;
    return NULL;
}

static int options_add(struct options_list *l, int argc, char **argv, int *i,
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
static bool options_json(const struct options_command *c)
{
    for (size_t i = 0; i < c->row_count; i++)
        if (strcmp(c->rows[i].name, "json") == 0)
            return *(const bool *)c->rows[i].slot;
    return false;
}

int options_load(const struct options_command *c, int argc, char **argv,
                 char ***operands, size_t *count, struct err *e)
{
    own_mem char **flags = mem_zero((size_t)argc + 1, sizeof(*flags));
    own_mem char **rest = mem_zero((size_t)argc + 1, sizeof(*rest));
    size_t flag_count = 0, rest_count = 0;
    bool is_rest = false;
    int got;

    flags[flag_count++] = argv[0];
    for (int i = 1; i < argc; i++) {
        struct options_list *l;

        if (!is_rest && strcmp(argv[i], "--") == 0) {
            is_rest = true;
            continue;
        }
        if (is_rest || argv[i][0] != '-' || !argv[i][1]) {
            rest[rest_count++] = argv[i];
            is_rest = is_rest || c->is_prefix;
            continue;
        }
        l = options_list_of(c, argv[i]);
        if (l) {
            if (options_add(l, argc, argv, &i, e) < 0)
                return -1;
            continue;
        }
        flags[flag_count++] = argv[i];
        if (options_wants_value(c, argv[i]) && i + 1 < argc &&
            strncmp(argv[i + 1], "--", 2) != 0)
            flags[flag_count++] = argv[++i];
    }
    say_as_json(options_want_json(flags, flag_count));
    got = conf_load(c->rows, c->row_count, c->program, c->summary,
                    (int)flag_count, flags, NULL, e);
    if (got == 0)
        say_as_json(options_json(c));
    if (got == 1 && c->more)
        printf("%s", c->more);
    if (got == 0) {
        *operands = own_mem_give(&rest);
        *count = rest_count;
    }
    return got;
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
