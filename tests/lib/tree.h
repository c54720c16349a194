/* Small trees of files for tests, below a scratch directory. */
#ifndef PODTERM_TESTS_LIB_TREE_H
#define PODTERM_TESTS_LIB_TREE_H

#include <stddef.h>

/* Write dir/path, making the directories on the way. Fail the test if that
 * does not work. */
void tree_put(const char *dir, const char *path, const char *text);
void tree_put_bytes(const char *dir, const char *path, const void *bytes,
                    size_t len);
/* The whole of a file, the caller's, a zero byte behind it. */
char *tree_get(const char *path, size_t *len);

#endif
