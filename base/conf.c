#include "base/conf.h"

#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void conf_env_name(const char *name, char out[CONF_ENV_MAX])
{
    int n = snprintf(out, CONF_ENV_MAX, "PODTERM_%s", name);

    for (int i = 8; i < n && i < CONF_ENV_MAX - 1; i++) {
        if (out[i] == '-')
            out[i] = '_';
        else if (out[i] >= 'a' && out[i] <= 'z')
            out[i] = (char)(out[i] - 'a' + 'A');
    }
}

static int conf_set_int(const struct conf_row *row, const char *text,
                        const char *where, struct err *e)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    /* strtoll lets blanks and a plus pass */
    if (errno || end == text || *end || (*text != '-' && *text < '0') ||
        v < row->min || v > row->max)
        return err_set(e, ERR_INPUT,
                       "%s: \"%.40s\" is not a whole number of %s from %lld "
                       "to %lld",
                       where, text, row->unit[0] ? row->unit : "units",
                       (long long)row->min, (long long)row->max);
    *(int64_t *)row->slot = v;
    return 0;
}

static int conf_set(const struct conf_row *row, const char *text,
                    const char *where, struct err *e)
{
    size_t len = strlen(text);

    switch (row->kind) {
    case CONF_INT:
        return conf_set_int(row, text, where, e);
    case CONF_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return err_set(e, ERR_INPUT,
                           "%s: \"%.40s\" is neither true nor false", where,
                           text);
        *(bool *)row->slot = text[0] == 't';
        return 0;
    case CONF_STR:
    case CONF_SECRET:
        if (row->max > 0 && len == 0 && row->min > 0)
            return err_set(e, ERR_INPUT, "%s: it is empty; want %s", where,
                           row->unit[0] ? row->unit : "a text");
        if (row->max > 0 &&
            ((int64_t)len < row->min || (int64_t)len > row->max))
            return err_set(e, ERR_INPUT,
                           "%s: %zu bytes long, must be %lld to %lld", where,
                           len, (long long)row->min, (long long)row->max);
        *(const char **)row->slot = text;
        return 0;
    }
    return 0;
}

int conf_file(const char *name, const char *path, bool is_dir, struct err *e)
{
    struct stat st;

    if (!path)
        return 0;
    if (stat(path, &st) < 0 || access(path, R_OK) < 0)
        return err_set(e, ERR_INPUT, "--%s: %.150s: %s; want %s we may read",
                       name, path, strerror(errno),
                       is_dir ? "a directory" : "a file");
    if (is_dir != S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "--%s: %.200s is %s", name, path,
                       is_dir ? "no directory" : "a directory, not a file");
    return 0;
}

/* Defaults first, then the environment; flags come on top. */
static int conf_base(const struct conf_row *rows, size_t count, struct err *e)
{
    char env[CONF_ENV_MAX];

    for (size_t i = 0; i < count; i++) {
        const char *text;

        if (rows[i].value &&
            conf_set(&rows[i], rows[i].value, rows[i].name, e) < 0)
            return -1;
        conf_env_name(rows[i].name, env);
        text = getenv(env);
        if (text && conf_set(&rows[i], text, env, e) < 0)
            return -1;
    }
    return 0;
}

static const struct conf_row *conf_find(const struct conf_row *rows,
                                        size_t count, const char *name,
                                        size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
            return &rows[i];
    return NULL;
}

/* argv[*i] is "--something": set its row, moving *i over a value. */
static int conf_flag(const struct conf_row *rows, size_t count, int argc,
                     char **argv, int *i, struct err *e)
{
    const char *flag = argv[*i], *name = flag + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct conf_row *row = conf_find(rows, count, name, len);
    char where[CONF_ENV_MAX];
    const char *value = equals ? equals + 1 : NULL;

    if (!row)
        return err_set(e, ERR_INPUT, "unknown option %.*s (see --help)",
                       (int)len + 2, flag);
    snprintf(where, sizeof(where), "--%s", row->name);
    if (row->kind == CONF_SECRET)
        return err_set(e, ERR_INPUT,
                       "%s: a secret may not stand on the command line, set "
                       "it in the environment",
                       where);
    if (!value && row->kind == CONF_BOOL)
        value = "true";
    /* "--state --listen x": forgotten rather than meant; = says it is meant */
    if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
        value = argv[++*i];
    if (!value)
        return err_set(e, ERR_INPUT, "%s: a value is missing", where);
    return conf_set(row, value, where, e);
}

/* 1: help or version was printed */
static int conf_told(const struct conf_row *rows, size_t count,
                     const char *program, const char *summary, const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        conf_help(rows, count, program, summary);
    else if (strcmp(arg, "--version") == 0)
        printf("%s %s\n", program, PODTERM_VERSION);
    else
        return 0;
    return 1;
}

int conf_load(const struct conf_row *rows, size_t count, const char *program,
              const char *summary, int argc, char **argv, int *rest,
              struct err *e)
{
    int i;

    if (conf_base(rows, count, e) < 0)
        return -1;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (argv[i][0] != '-' || argv[i][1] == 0)
            break;
        if (conf_told(rows, count, program, summary, argv[i]))
            return fflush(stdout) == 0 && !ferror(stdout)
                       ? 1
                       : err_sys(e, "standard output");
        if (argv[i][1] != '-')
            return err_set(e, ERR_INPUT, "unknown option %.40s (see --help)",
                           argv[i]);
        if (conf_flag(rows, count, argc, argv, &i, e) < 0)
            return -1;
    }
    if (!rest && i < argc)
        return err_set(e, ERR_INPUT, "\"%.60s\" is not wanted (see --help)",
                       argv[i]);
    if (rest)
        *rest = i;
    return 0;
}

static void conf_help_row(const struct conf_row *row)
{
    char env[CONF_ENV_MAX];

    conf_env_name(row->name, env);
    if (row->kind == CONF_SECRET)
        printf("  %s", env);
    else
        printf("  --%s", row->name);
    if (row->kind == CONF_INT)
        printf(" N");
    else if (row->kind == CONF_STR)
        printf(" %s", row->unit[0] ? row->unit : "TEXT");
    printf("\n      %s", row->help);
    if (row->kind == CONF_INT)
        printf(" (%s%s%lld to %lld)", row->unit, row->unit[0] ? ", " : "",
               (long long)row->min, (long long)row->max);
    if (row->value)
        printf(" [%s]", row->value);
    if (row->kind != CONF_SECRET)
        printf("\n      %s", env);
    printf("\n");
}

void conf_help(const struct conf_row *rows, size_t count, const char *program,
               const char *summary)
{
    printf("%s: %s\n\n", program, summary);
    printf("Each setting is a flag or an environment variable; the flag "
           "wins.\n\n");
    for (size_t i = 0; i < count; i++)
        conf_help_row(&rows[i]);
}
