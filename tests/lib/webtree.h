/*
 * A page's directory for tests: files with the copies a build leaves beside
 * them. The gzip ones are real (stored, not compressed), the br ones a text.
 */
#ifndef PODTERM_TESTS_LIB_WEBTREE_H
#define PODTERM_TESTS_LIB_WEBTREE_H

#include <stddef.h>
#include <stdint.h>

#define WEBTREE_INDEX "<!doctype html><title>page</title>"
#define WEBTREE_SCRIPT "/assets/page-0A1B2C3D.js"
#define WEBTREE_BR "brotli"

/* A gzip file of these bytes, the caller's. */
uint8_t *webtree_gzip(const void *bytes, size_t len, size_t *out_len);
/* dir/path and dir/path.gz. */
void webtree_put(const char *dir, const char *path, const void *bytes,
                 size_t len);
/* dir/index.html with both copies, dir/assets/page-0A1B2C3D.js of len bytes
 * (each line of it names its number), with a gzip copy. */
void webtree_make(const char *dir, size_t len);

#endif
