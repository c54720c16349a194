/*
 * Unpacking: libarchive's one doorway, in a process of its own.
 *
 * The parent verifies first, then starts `podterm-agent --unpack` with one
 * archive descriptor, one directory handle and one pipe. The child has no
 * key, is not dumpable, and locks itself in (rlimits, seccomp, Landlock)
 * before it reads a byte. It extracts by its own rules (SECURITY rule 7):
 * only files, directories, symlinks and hard links; no absolute or ".."
 * names, no duplicates, no link that leaves the tree (links are made last,
 * each checked by opening it); modes 0644 or 0755.
 */
#ifndef PODTERM_AGENT_UNPACK_H
#define PODTERM_AGENT_UNPACK_H

#include "agent/spec.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define UNPACK_SECONDS_MAX 300 /* the child is killed then */

struct unpack_conf {
    int archive_fd; /* regular file, read from its start */
    int dir_fd;     /* empty directory that receives the tree */
    struct spec_unpack limits;
    /* Bytes of the archive read, of its size; from the calling thread. */
    void (*progress)(void *arg, int64_t done, int64_t total);
    bool (*is_cancelled)(void *arg);
    void *arg;
};

/* Run the child to its end. 0; -1: ERR_INPUT the archive is refused (names
 * the entry, escaped), ERR_SYSTEM (disk full, ...). The directory may then
 * hold a part: the caller removes it. */
int unpack_run(const struct unpack_conf *conf, struct err *e);

/* The child: descriptors 3 archive, 4 directory, 5 pipe; limits in argv. */
int unpack_child_main(int argc, char **argv);

/* The extraction alone, in this process: for tests and the fuzzer. */
int unpack_extract(const struct unpack_conf *conf, struct err *e);

#endif
