/*
 * `podterm dev` started in a world of the test's making: as nobody, on a
 * small disk, without bubblewrap or user namespaces.
 */
#ifndef PODTERM_TESTS_LIB_DEVRUN_H
#define PODTERM_TESTS_LIB_DEVRUN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define READY_MS 15000

struct dev_how {
    const char *listen; /* NULL: a free dev_port */
    const char *state;  /* NULL: DIR/state */
    const char *more;   /* a further flag */
    bool as_nobody, has_no_bwrap, has_no_namespaces;
    const char *tmpfs; /* mounted on the state directory, with this size */
};

struct dev {
    pid_t pid;
    int out_fd, attach_port;
    char out[16384];
    size_t len;
    int status;
};

extern char *dev_dir; /* a fresh one for each test */
extern int dev_port;  /* --listen, where nothing else is said */

/* A cmocka setup and teardown. */
int dev_setup(void **state);
int dev_teardown(void **state);
bool dev_is_root(void);
void dev_root_only(void); /* skips the test otherwise */

void dev_start(struct dev *d, const struct dev_how *how);
/* Read until it says `text` (NULL: until the end). false: the end came. */
bool dev_says(struct dev *d, const char *text, int ms);
/* It ends by itself: its exit code. */
int dev_wait(struct dev *d);
/* No process of it is there any more. */
void dev_left_nothing(void);
/* SIGTERM: it leaves with 0 and nothing is left. */
void dev_stop(struct dev *d);

#endif
