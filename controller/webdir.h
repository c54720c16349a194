/*
 * The page's files (--web-dir), read into memory once, each with the copies
 * that its build has compressed beside it (NAME.br, NAME.gz). What is served
 * is what was there at the start: no path of a request ever reaches a disk.
 * Constant after loading; shared by threads.
 *
 * Taken are directories and regular files with plain names and an ending of
 * the table in webdir.c. Anything else is refused, as is a copy without its
 * file: a directory that is not what a build made is told at the start.
 */
#ifndef PODTERM_CONTROLLER_WEBDIR_H
#define PODTERM_CONTROLLER_WEBDIR_H

#include "base/err.h"
#include "controller/negotiate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBDIR_DEPTH_MAX 8 /* directories inside each other */
#define WEBDIR_TAG_SIZE 35 /* 32 hex digits in quotes */
#define WEBDIR_INDEX "/index.html"

struct webdir;

struct webdir_limits {
    int64_t files; /* copies counted */
    int64_t bytes; /* of all of them */
    int64_t name;  /* bytes of a path below the directory */
};

struct webdir_copy {
    uint8_t *bytes;
    size_t len;
    char etag[WEBDIR_TAG_SIZE]; /* strong: of these bytes; "" = not there */
};

struct webdir_file {
    char *path;       /* "/assets/page-0A1B2C3D.js" */
    const char *type; /* "text/javascript; charset=utf-8" */
    bool is_lasting;  /* its name has a hash of what is in it */
    struct webdir_copy copies[CODING_COUNT];
};

/*
 * Read it all.
 *
 * returns  what was read, the caller's, or NULL: ERR_INPUT says which file
 *          is wrong and what to do, ERR_SYSTEM what could not be read
 */
struct webdir *webdir_load(const char *dir, const struct webdir_limits *limits,
                           struct err *e);
void webdir_free(struct webdir *w); /* takes NULL */

/* The file of this very path; "/" is WEBDIR_INDEX. NULL: there is none. */
const struct webdir_file *webdir_find(const struct webdir *w, const char *path);
size_t webdir_count(const struct webdir *w); /* files, without copies */
int64_t webdir_bytes(const struct webdir *w);

#endif
