#include "agent/unpack_lib.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#define UNPACK_LIBRARY "libarchive.so.13"

static pthread_once_t unpack_lib_once = PTHREAD_ONCE_INIT;
static void *unpack_lib;

static void unpack_lib_open(void)
{
    unpack_lib = dlopen(UNPACK_LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

int unpack_lib_load(struct err *e)
{
    pthread_once(&unpack_lib_once, unpack_lib_open);
    if (!unpack_lib)
        return err_set(e, ERR_SYSTEM, UNPACK_LIBRARY " cannot be loaded");
    return 0;
}

static void *unpack_lib_symbol(const char *name)
{
    void *at = dlsym(unpack_lib, name);

    if (!at)
        abort(); /* another library of that name */
    return at;
}

/* The compiler holds each against the library's header. */
#define CALL(type, name, params, args)                                         \
    type name params                                                           \
    {                                                                          \
        return (type)((__typeof__(&name))unpack_lib_symbol(#name))args;        \
    }
#define CALL_READ(name) CALL(int, name, (struct archive * a), (a))
#define CALL_TEXT(name)                                                        \
    CALL(const char *, name, (struct archive_entry * entry), (entry))
#define CALL_MODE(name)                                                        \
    CALL(mode_t, name, (struct archive_entry * entry), (entry))

CALL(struct archive *, archive_read_new, (void), ())
CALL_READ(archive_read_free)
CALL_READ(archive_read_support_format_tar)
CALL_READ(archive_read_support_format_zip)
CALL_READ(archive_read_support_filter_gzip)
CALL_READ(archive_read_support_filter_xz)
CALL_READ(archive_read_support_filter_zstd)
CALL(int, archive_read_open_fd, (struct archive * a, int fd, size_t block),
     (a, fd, block))
CALL(int, archive_read_next_header,
     (struct archive * a, struct archive_entry **entry), (a, entry))
CALL(int, archive_read_data_block,
     (struct archive * a, const void **block, size_t *len, la_int64_t *at),
     (a, block, len, at))
CALL(la_int64_t, archive_filter_bytes, (struct archive * a, int filter),
     (a, filter))
CALL_READ(archive_filter_count)
CALL(const char *, archive_error_string, (struct archive * a), (a))
CALL(la_int64_t, archive_entry_size, (struct archive_entry * entry), (entry))
CALL_TEXT(archive_entry_pathname)
CALL_TEXT(archive_entry_hardlink)
CALL_TEXT(archive_entry_symlink)
CALL_MODE(archive_entry_filetype)
CALL_MODE(archive_entry_perm)
