/* Ports for servers of a test that must know theirs before they start. */
#ifndef PODTERM_TESTS_LIB_PORTS_H
#define PODTERM_TESTS_LIB_PORTS_H

/* A port of 127.0.0.1 that was free a moment ago, and that no connection and
 * no bind to 0 gets by chance: a server started again finds its own free,
 * whatever other tests do meanwhile. Fails the test when there is none. */
int port_free(void);
/* A machine without IPv6: the test is skipped. */
void ports_need_ipv6(void);

#endif
