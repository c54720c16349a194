/*
 * A certificate and its key as files that somebody replaces while we run, in
 * any order, in place or by rename: when to load them again. Both count. A
 * load that fails is tried again at every look, since the other half may be
 * on its way; the pair loaded before serves meanwhile.
 *
 * A plain value: one thread at a time, and a copy is as good.
 */
#ifndef PODTERM_BASE_TLS_FILES_H
#define PODTERM_BASE_TLS_FILES_H

#include <stdbool.h>
#include <sys/stat.h>

#define TLS_FILES_LOOK_MS 5000 /* between two looks */

struct tls_files {
    const char *cert_path, *key_path; /* borrowed; NULL = there are none */
    struct stat cert, key;            /* at the last look */
    bool is_due;                      /* at the next, changed or not */
    bool is_told;                     /* why these do not load */
};

/* Before the first load, so that no change after it is missed. */
void tls_files_init(struct tls_files *f, const char *cert_path,
                    const char *key_path);
/* Load them now? They changed since the last look, or are due. Never when
 * there are none. */
bool tls_files_look(struct tls_files *f);
/* Due at the next look, and what goes wrong then is told. */
void tls_files_ask(struct tls_files *f);
/* The load after a look failed: they are due again. true: say why, once for
 * each change. */
bool tls_files_failed(struct tls_files *f);

#endif
