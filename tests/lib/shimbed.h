/*
 * The agent's end of the shim protocol on a loop, and what came up of it; for
 * tests that are the shim, or run the real one.
 */
#ifndef PODTERM_TESTS_LIB_SHIMBED_H
#define PODTERM_TESTS_LIB_SHIMBED_H

#include "agent/shimlink.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct shimbed {
    struct loop *loop;
    struct shimlink *link;
    char *dir;
    uint8_t cookie[SHIM_COOKIE_BYTES];
    bool is_late;
    struct shimlink_run run; /* of the last started */
    uint16_t port;           /* of the last listener */
    int hellos, listeners, starteds, exiteds, stoppings, faileds, losts;
    enum shim_state state;
    enum shim_end kind;
    int value, master_fd, error;
    char text[SHIM_TEXT_MAX + 1];
    struct err why;
};

extern const struct shimlink_verbs shimbed_verbs; /* arg: a struct shimbed */

/* A cmocka setup and teardown; *state is a struct shimbed, no link yet. */
int shimbed_setup(void **state);
int shimbed_teardown(void **state);
/* The link, listening in b->dir. */
void shimbed_open(struct shimbed *b, uid_t uid, bool is_caged, bool is_spent);
/* Run the loop until *count is want; fails after 5 s. */
void shimbed_until(struct shimbed *b, const int *count, int want);
/* Let the loop turn for a while. */
void shimbed_turn(struct shimbed *b, int ms);

#endif
