/*
 * The view of a task list where no terminal is: whole lines, as it happens.
 */
#ifndef PODTERM_SAMPLE_CLI_SCREEN_PLAIN_H
#define PODTERM_SAMPLE_CLI_SCREEN_PLAIN_H

#include "sample-cli/screen.h"

#include <stdint.h>

/* Tell what is new. */
void screen_plain(struct screen *s, const struct tasks *t, int64_t now_ms);

#endif
