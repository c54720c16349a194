/*
 * A program that tries everything a caged one must not be able to do, and
 * says so on its terminal: a line "BAD what" for each thing that worked,
 * then "TRIED n". Host-side names come by environment: HOST_STATE (a path),
 * HOST_PORT (a TCP port on the host's loopback), HOST_NAME (an abstract
 * socket). With HOST_ONLY_CAGE what the agent's filters refuse is not tried.
 */
#ifndef PODTERM_TESTS_LIB_HOSTILE_H
#define PODTERM_TESTS_LIB_HOSTILE_H

int hostile_main(void);

#endif
