/* Where the built programs are, for tests that run the real ones. */
#ifndef PODTERM_TESTS_LIB_PROGRAMS_H
#define PODTERM_TESTS_LIB_PROGRAMS_H

/* BUILD/bin/NAME beside the running test; freed by the caller. Fails the
 * test when it has not been built. */
char *program_path(const char *name);

/* A fresh directory below $TMPDIR or /tmp that every user may enter; removed
 * with all that is in it by scratch_remove, which frees it. */
char *scratch_new(void);
void scratch_remove(char *dir);

#endif
