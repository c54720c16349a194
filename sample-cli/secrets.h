/*
 * What is never sent anywhere: files that hold secrets by their name, and
 * text that looks like one. Rather too much than too little. Pure.
 */
#ifndef PODTERM_SAMPLE_CLI_SECRETS_H
#define PODTERM_SAMPLE_CLI_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

/* Is it a file such as .env, a private key, a password file, or anything in
 * a directory such as .ssh? path is below the root; case does not count. */
bool secrets_in_name(const char *path);
/* Is there a private key, or a token of a kind that is known by its form? */
bool secrets_in_text(const char *text, size_t len);

#endif
