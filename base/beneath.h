/*
 * Opening what lies below a directory, and never anything else: openat2(2)
 * with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS. Where the kernel has none
 * (gVisor until September 2026, Linux before 5.6) or a filter of system calls
 * refuses it (EPERM; a true one is met again), the path is walked here, a
 * component at a time. Doorway on openat2: nobody else calls it.
 *
 * The walk holds a descriptor for each directory it has gone into. ".." goes
 * back to the one before, so the kernel's own ".." is never asked for, and no
 * symbolic link is ever followed but by reading it. Whatever others rename or
 * replace meanwhile, each step opens a name in a directory that was reached
 * from the first by names alone: nothing leads up or aside from there.
 * Promised by neither way: that a directory which somebody moves out of the
 * tree while we are in it is left again. Who must rule that out sees to it
 * that nobody else may write there.
 *
 * Results and errno are openat2's, but for these: the walk takes every link
 * of a procfs for a magic one, does not ask fs.protected_symlinks, asks
 * for the right to search a directory that it opens to be read, and goes
 * at most BENEATH_DEPTH_MAX directories deep (ENAMETOOLONG).
 */
#ifndef PODTERM_BASE_BENEATH_H
#define PODTERM_BASE_BENEATH_H

#include <stdbool.h>
#include <sys/types.h>

#define BENEATH_DEPTH_MAX 256 /* descriptors held by the walk */
#define BENEATH_LINKS_MAX 40  /* followed in one path; the kernel's own */

enum beneath_links {
    BENEATH_NO_LINKS, /* a symbolic link on the way or at the end: ELOOP */
    BENEATH_LINKS,    /* followed as long as they stay below */
};

/*
 * dir_fd   the directory; borrowed
 * path     relative to it, at most 4095 bytes
 * flags    as openat2 takes them; O_CLOEXEC is added. O_NOFOLLOW is for the
 *          last component, as ever: with O_PATH a link itself is opened
 * mode     of a file that is made; 0 without O_CREAT
 * returns  the descriptor, the caller's, or -1 with errno. EXDEV: it leads out
 *          (".." above dir_fd, an absolute path or link). ELOOP: a link that
 *          is not followed, too many, or a magic one. EAGAIN: others renamed
 *          files without a pause while ".." was gone through.
 * source   openat2(2), path_resolution(7)
 */
int beneath_open(int dir_fd, const char *path, int flags, mode_t mode,
                 enum beneath_links links);

/* Does openat2 work here? If not, a filter of one's own must let through what
 * the walk is made of: openat, readlinkat, fstat, fstatfs, close. */
bool beneath_is_native(void);

#endif
