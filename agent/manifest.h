/*
 * Which program a bundle starts: the request's command, else podterm.json's
 * entry point, else the only executable file below bin/. Pure file reading;
 * every path is opened inside the tree (base/beneath.h, no symlink out).
 */
#ifndef PODTERM_AGENT_MANIFEST_H
#define PODTERM_AGENT_MANIFEST_H

#include "base/err.h"

#define MANIFEST_FILE "podterm.json"
#define MANIFEST_BYTES_MAX 65536
#define MANIFEST_ARGS_MAX 256
#define MANIFEST_PATH                                                          \
    "/usr/local/bin:/usr/bin:/bin" /* behind the bundle's                      \
                                      own bin/ */

/*
 * root_fd      the unpacked tree
 * runner_root  where the runner sees it
 * command      NULL, or the request's words
 * argv         the words to execute, NULL-terminated; the first is an
 *              absolute path below runner_root, or a bare name to be found on
 *              PATH; the caller's
 * returns 0; -1 ERR_INPUT: malformed podterm.json, entry point missing or not
 *         executable (names it), no or several candidates (lists them)
 */
int manifest_argv(int root_fd, const char *runner_root, char *const *command,
                  char ***argv, struct err *e);

#endif
