/*
 * A keeper and agent in one small process, for tests of the controller: it
 * obeys the launcher's contract (PROTOCOL.md 7) and behaves as the variable
 * FAKE in its session's environment says:
 *   (none)    listens, says running, ends by END or SIGTERM
 *   exit      reports exit code 3 at once
 *   pending   never says anything
 *   deaf      listens, does not hear END
 *   forgetful listens, hangs up at the first VIEWERS
 *   stubborn  like pending, and ignores SIGTERM
 *   die       listens and kills itself
 *   liar      reports nonsense
 *   babbler   says running, then many times something that is no status
 * The lists of VIEWERS it has heard are lines of agent/viewers: the version
 * and the subjects, with blanks between.
 */
#ifndef PODTERM_TESTS_LIB_FAKE_KEEPER_H
#define PODTERM_TESTS_LIB_FAKE_KEEPER_H

/* Called first by a test's main: does not return when argv is a keeper's. */
void fake_keeper_maybe(int argc, char **argv);

#endif
