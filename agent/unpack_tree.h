/*
 * A tree under construction: names judged, files and directories made inside
 * one directory handle, links kept until last. No libarchive here.
 *
 * Every path is opened below the handle without following a link
 * (base/beneath.h), so that no name leads out of it whatever was made before.
 */
#ifndef PODTERM_AGENT_UNPACK_TREE_H
#define PODTERM_AGENT_UNPACK_TREE_H

#include "agent/spec.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unpack_link {
    char *name;   /* where it will stand */
    char *target; /* as the archive has it */
    bool is_hard;
};

struct unpack_tree {
    int dir_fd; /* borrowed */
    struct spec_unpack limits;
    int64_t archive_bytes; /* that max_ratio is held against */
    int64_t entries;       /* the archive's, and directories made unasked */
    int64_t bytes;         /* produced so far, a block for each entry too */
    int64_t spared_bytes;  /* those of them that no ratio is asked of */
    struct unpack_link *links;
    size_t link_count;
};

/* A name in its one form into out (4097 bytes): no leading "./", no trailing
 * "/", checked. 1: the root itself ("./"); 0; -1 ERR_INPUT. */
int unpack_tree_name(const struct unpack_tree *t, const char *raw, char *out,
                     struct err *e);
/* Count one entry of the archive, its block with it. -1 when there are too
 * many. */
int unpack_tree_count(struct unpack_tree *t, const char *name, struct err *e);
/* Count more bytes of an entry. -1 when there are too many. */
int unpack_tree_bytes(struct unpack_tree *t, int64_t more, const char *name,
                      struct err *e);
/* Make a directory, its parents as needed; each of those counts as an entry. */
int unpack_tree_dir(struct unpack_tree *t, const char *name, struct err *e);
/* Make a file likewise. Returns its descriptor. */
int unpack_tree_file(struct unpack_tree *t, const char *name,
                     bool is_executable, struct err *e);
/* Keep a link for unpack_tree_links. */
int unpack_tree_link(struct unpack_tree *t, const char *name,
                     const char *target, bool is_hard, struct err *e);
/* Make the links, hard ones first, each checked by opening it. */
int unpack_tree_links(struct unpack_tree *t, struct err *e);
void unpack_tree_fini(struct unpack_tree *t);

/* An untrusted name for a message: printable ASCII, else \xNN; cut. */
#define UNPACK_SHOWN_MAX 121
void unpack_show(const char *name, char out[UNPACK_SHOWN_MAX]);

#endif
