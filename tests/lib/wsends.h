/*
 * Our client and our server of base/ws.h on one loop, each end as a service
 * would hold it. The server is wsbed's.
 */
#ifndef PODTERM_TESTS_LIB_WSENDS_H
#define PODTERM_TESTS_LIB_WSENDS_H

#include "tests/lib/wsbed.h"

#define BOTH_MESSAGE_MAX 131072

struct wsend { /* one end */
    struct ws_conn *conn;
    int opened, closed, code, messages, drains;
    char reason[160];
    uint8_t *last; /* message; owned */
    size_t last_len, total;
    bool is_text;
    bool refuse;  /* set: opened says no */
    bool echo;    /* set: every message goes back */
    int to_write; /* set: messages still to be written in drained */
    size_t write_len;
    char origin[64], authorization[64]; /* "-" = none */
};

struct wsends {
    struct wsend server, client;
};

extern struct wsends both; /* the running test's */

/* bed_start and bed_stop and the ends; a cmocka setup and teardown. */
int both_start(void **state);
int both_stop(void **state);
/* For bed_serve, and to dial what it serves. */
struct ws_server_conf both_conf(void);
struct ws_dial_conf both_dial_conf(void);
/* both.client.conn, or the test fails. */
void both_dial(const struct ws_dial_conf *conf);
/* Serve, dial, and wait until both are open. */
void both_open(void);

/* For run_until. */
bool both_are_open(void *unused);
bool both_are_closed(void *unused);
bool client_is_closed(void *unused);
bool client_has_message(void *unused);
bool server_has_message(void *unused);
struct wsend_count {
    struct wsend *end;
    int messages;
};
bool wsend_has(void *count); /* struct wsend_count: so many or more */
/* The last message is what drained writes when `number` are left. */
void wsend_check_last(const struct wsend *e, size_t len, int number);

#endif
