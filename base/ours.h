/*
 * Directories and files that must be ours alone: no link, owned by our
 * effective uid, and nobody else may write them. Whoever could plant one
 * elsewhere would choose what we change, remove or believe.
 */
#ifndef PODTERM_BASE_OURS_H
#define PODTERM_BASE_OURS_H

#include "base/err.h"

#include <sys/types.h>

/* Open the directory at path, made if it is not there, and give it this
 * mode. What is not ours is left as it is: ERR_SYSTEM, and the text says what
 * is wrong and what to do. Returns its descriptor. */
int ours_dir(const char *path, mode_t mode, struct err *e);

/* Open (with these flags) the regular file at path, made with 0600 if it is
 * not there. Returns its descriptor. */
int ours_open(const char *path, int flags, struct err *e);

/* The same judgement on a regular file that a library opens by its name. One
 * that is not there is fine. */
int ours_file(const char *path, struct err *e);

#endif
