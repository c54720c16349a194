/* Names for a test and all it starts, out of a hosts file of its own. */
#ifndef PODTERM_TESTS_LIB_OWNHOSTS_H
#define PODTERM_TESTS_LIB_OWNHOSTS_H

#include <stdbool.h>

/* In a mount namespace of this process' own, from which there is no way back,
 * /etc/hosts has this text. false: that takes root. */
bool own_hosts(const char *text);
/* There already: another file in its place. */
bool own_hosts_again(const char *text);

#endif
