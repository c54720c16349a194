/*
 * What a scope owns, its variable releases: `own_fd int fd = -1;`.
 * Giving away is spelled out: `return own_fd_give(&fd);`.
 */
#ifndef PODTERM_BASE_OWN_H
#define PODTERM_BASE_OWN_H

#include <stdlib.h>
#include <unistd.h>

/* Closes *fd if it is not negative. EINTR is not retried: on Linux the
 * descriptor is gone. */
static inline void own_fd_release(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void own_mem_release(void *slot)
{
    free(*(void **)slot);
}

/* Take the descriptor out of its scope; the variable is left empty. */
static inline int own_fd_give(int *fd)
{
    int out = *fd;

    *fd = -1;
    return out;
}

/* Take the memory out of its scope; the variable is left NULL. */
#define own_mem_give(slot)                                                     \
    __extension__({                                                            \
        __auto_type own_given_ = *(slot);                                      \
        *(slot) = NULL;                                                        \
        own_given_;                                                            \
    })

#define own_fd __attribute__((cleanup(own_fd_release)))
#define own_mem __attribute__((cleanup(own_mem_release)))

#endif
