/*
 * A controller's keys, made once in a process of tests: each pair of RSA takes
 * a second of a processor.
 */
#ifndef PODTERM_TESTS_LIB_KEYSONCE_H
#define PODTERM_TESTS_LIB_KEYSONCE_H

#include "controller/keys.h"

/* The same each time; keys_fini is the caller's. */
void keysonce_load(struct keys *out);

#endif
