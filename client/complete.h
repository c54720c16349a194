/*
 * What may follow on a command line that is being typed, for the scripts that
 * `podterm completion` prints: commands, options, values, and the ids of
 * sessions where an identity is to be had without asking anybody.
 */
#ifndef PODTERM_CLIENT_COMPLETE_H
#define PODTERM_CLIENT_COMPLETE_H

#define COMPLETE_MS 2000 /* for the server to list sessions */

/*
 * words: behind "podterm", the last being the one under the cursor (maybe
 * ""). Prints what may stand in its place, a line each, with a description
 * behind a tab; or ":files" alone, for a file's name. Never says anything
 * else: 0, also when nothing is known.
 */
int complete_words(int count, char **words);

#endif
