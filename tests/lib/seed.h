/*
 * Random tests that can be repeated: the seed is of the clock, or what
 * PODTERM_TEST_SEED says, and is printed.
 */
#ifndef PODTERM_TESTS_LIB_SEED_H
#define PODTERM_TESTS_LIB_SEED_H

/* Seed rand(3), print how to do the same again. */
void seed_random(void);

#endif
