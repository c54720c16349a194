/*
 * A group of tests on a bed of tests/lib/clusterbed.h. Where what the bed needs
 * is not set all of them are skipped, and say what to set: nothing is begun.
 */
#ifndef PODTERM_TESTS_LIB_CLUSTERRUN_H
#define PODTERM_TESTS_LIB_CLUSTERRUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* As cmocka_run_group_tests. */
#define CLUSTERRUN(tests, setup, teardown)                                     \
    clusterrun(tests, sizeof(tests) / sizeof *(tests), setup, teardown)

int clusterrun(const struct CMUnitTest *tests, size_t count,
               CMFixtureFunction setup, CMFixtureFunction teardown);

#endif
