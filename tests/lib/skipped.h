/* A test that cannot be run here says why: tests/run repeats it. */
#ifndef PODTERM_TESTS_LIB_SKIPPED_H
#define PODTERM_TESTS_LIB_SKIPPED_H

/* cmocka's skip(), with a reason. */
void skipped(const char *why);

#endif
