/*
 * What a hostile program (tests/hostile) said, held against the tables of its
 * README: every attempt of the table was made, each came to what stands there
 * and nothing else, and what the proxy saw of it is in the agent's log. One
 * function for every place where a program runs in a cage.
 *
 * A row: | `names` | what | who refuses | local | pod | log |. Names are
 * separated by blanks, "a_{b,3..5}" being a_b, a_3, a_4 and a_5. Under a
 * setting stand the reasons that may be given ("EPERM/ENOSYS"), "THROUGH"
 * where it is the program's right, or "n/a" where there is nothing to try.
 * Under log stand words of the "why" of a line of its own, or "-".
 */
#ifndef PODTERM_TESTS_LIB_CAGEJUDGE_H
#define PODTERM_TESTS_LIB_CAGEJUDGE_H

#include <stdbool.h>

enum cage_setting {
    CAGE_LOCAL, /* the network namespace is the runner's own */
    CAGE_POD,   /* it is shared with the agent */
};

struct cage_count {
    int refused, through, absent; /* as they should be */
    int wrong;                    /* each was printed */
    int logged;                   /* attempts with a line of their own */
};

/*
 * program: "hostile.c" or "hostile.py", the chapter and the program's name
 * for itself. said: all that it wrote. log: the agent's log, lines of JSON
 * (those of event "egress" count), or NULL: none was to be had. readme: its
 * path.
 */
struct cage_count cagejudge(const char *readme, const char *program,
                            enum cage_setting setting, const char *said,
                            const char *log);

/* Did the attempt come through? For a run outside of any cage. */
bool cagejudge_through(const char *said, const char *name);

#endif
