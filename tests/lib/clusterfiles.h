/* Files a test of tests/lib/clusterbed.h makes: templates, programs. */
#ifndef PODTERM_TESTS_LIB_CLUSTERFILES_H
#define PODTERM_TESTS_LIB_CLUSTERFILES_H

#include "tests/lib/clusterbed.h"

/* The shipped template of a session's Job with these changes, each the first
 * place of one text put by another, ending with a pair of NULL (or NULL: none):
 * a file of the bed, for --job-template. It asks for so little of a processor
 * that tests run side by side on one node. Its path is the caller's. */
char *clusterfiles_template(struct clusterbed *b, const char *name,
                            const char *const (*changes)[2]);

/* A bundle whose program is this C text, static, where pods can get it. */
void clusterfiles_compile(struct clusterbed *b, const char *name,
                          const char *text, struct stack_bundle *out);

#endif
