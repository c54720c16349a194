/*
 * The content of one file, read whole up to a limit, and its lines.
 */
#ifndef PODTERM_SAMPLE_CLI_SOURCE_H
#define PODTERM_SAMPLE_CLI_SOURCE_H

#include "base/err.h"
#include "sample-cli/lang.h"
#include "sample-cli/walk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source {
    const char *path; /* borrowed */
    char *bytes;      /* owned, a zero byte behind them */
    size_t len;
    enum lang lang;
};

/*
 * Read a regular file below root_fd, following no link on the way.
 * ERR_TOO_LARGE: it has more than bytes_max; ERR_INPUT: it is none any more;
 * ERR_SYSTEM: it cannot be read. See base/beneath.h.
 */
int source_read(int root_fd, const char *path, int64_t bytes_max,
                struct source *out, struct err *e);
void source_fini(struct source *s);

struct source_line {
    long number;
    const char *text; /* borrowed */
    size_t len;       /* without its end */
    bool has_cr;      /* it ends in CR LF */
    bool has_lf;      /* false only for the last */
};

/* The line at *at, which moves behind it; false at the end. Start with 0 and
 * a zeroed line. */
bool source_next(const struct source *s, size_t *at, struct source_line *line);

#endif
