/*
 * What is told of a command, out of its struct: the text of `--help`, and a
 * manual page in man(7) for troff. Both say the same, in the same order.
 */
#ifndef PODTERM_CLIENT_MANUAL_H
#define PODTERM_CLIENT_MANUAL_H

#include "client/command.h"

#include <stdio.h>

/* Of podterm as a whole: c == NULL. */
void manual_help(const struct command *c, FILE *to);
/* The page podterm-NAME(1), or podterm(1). */
void manual_page(const struct command *c, FILE *to);

#endif
