/*
 * Settings: one row each makes the flag, the environment name, the default,
 * the check and the help text. `--bundle-domains a,b`, `--bundle-domains=a`,
 * or PODTERM_BUNDLE_DOMAINS; the flag wins. A bad value stops the start and
 * the message names flag or variable, the value's rule and unit.
 */
#ifndef PODTERM_BASE_CONF_H
#define PODTERM_BASE_CONF_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_kind {
    CONF_INT,    /* slot int64_t *, min..max */
    CONF_BOOL,   /* slot bool *; flag alone = true, or =true/false */
    CONF_STR,    /* slot const char **; min..max = length in bytes */
    CONF_SECRET, /* like CONF_STR, refused as a flag (argv is public) */
};

struct conf_row {
    const char *name; /* "bundle-domains" */
    enum conf_kind kind;
    void *slot;
    int64_t min, max;
    const char *value; /* default as text; NULL = none (NULL, 0, false) */
    const char *unit;  /* "ms", "bytes", "host:port", ... or "" */
    const char *help;
};

/*
 * Fill the slots of count rows. Strings point into argv, the environment or
 * the table.
 *
 * program, summary  for --help
 * rest              index in argv of the first operand ("--" is skipped);
 *                   NULL = operands are refused
 * returns 0; 1 when --help or --version was printed (exit 0); -1 with *e
 */
int conf_load(const struct conf_row *rows, size_t count, const char *program,
              const char *summary, int argc, char **argv, int *rest,
              struct err *e);
/* Is the file (directory) that this setting names there for us to read? NULL
 * is: nothing was named. ERR_INPUT with flag, path and what is wrong. */
int conf_file(const char *name, const char *path, bool is_dir, struct err *e);
/* The name in the environment: "bundle-domains" -> "PODTERM_BUNDLE_DOMAINS". */
#define CONF_ENV_MAX 96
void conf_env_name(const char *name, char out[CONF_ENV_MAX]);
/* The table as text for --help, on stdout. */
void conf_help(const struct conf_row *rows, size_t count, const char *program,
               const char *summary);

#endif
