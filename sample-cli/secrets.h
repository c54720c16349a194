/*
 * What is never sent anywhere: files that hold secrets by their name, and
 * text that has one of a form that is known here. A secret that looks like
 * any other text is not among them. Rather too much than too little. Pure.
 */
#ifndef PODTERM_SAMPLE_CLI_SECRETS_H
#define PODTERM_SAMPLE_CLI_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

/* Is it a file such as .env, a private key, a password file, or anything in
 * a directory such as .ssh? path is below the root; case does not count. */
bool secrets_in_name(const char *path);
/* Is there a private key, a token of a kind that is known by its form, a
 * literal that is called a password, a key or the like, a URL with a password,
 * or credentials of an HTTP header? */
bool secrets_in_text(const char *text, size_t len);
/* One or the other: may the name itself be told? */
bool secrets_in_path(const char *path);

#endif
