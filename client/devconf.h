/*
 * Settings of `podterm dev` and what is made of them before anything starts:
 * two loopback addresses that are free, a state directory that the programs'
 * own uids can pass, the programs beside this one.
 */
#ifndef PODTERM_CLIENT_DEVCONF_H
#define PODTERM_CLIENT_DEVCONF_H

#include "base/addr.h"
#include "base/conf.h"

#include <limits.h>
#include <stdbool.h>

struct devconf {
    const char *listen, *attach_listen, *state, *bundle_root, *bundle_domains;
    const char *isolation, *egress, *program_domains, *installation;
    const char *broker, *broker_upstream; /* of the key broker */
    const char *store; /* NULL = podterm.db in the state directory */
    const char *web;   /* NULL = the page that lies beside us, "" = none */
    bool log_to_stderr;
    char **more; /* further flags for the controller, in argv */
    int more_count;
    /* made of these */
    char api[ADDR_TEXT_MAX];    /* "127.0.0.1:8080" */
    char attach[ADDR_TEXT_MAX]; /* "127.0.0.1:8081" */
    char state_dir[PATH_MAX];   /* absolute; exists, ours */
    char root_dir[PATH_MAX];    /* bundle root, absolute */
    struct err root_trouble;    /* why agents cannot read below it, if so */
    char bin_dir[PATH_MAX];     /* where this program lies */
    char web_dir[PATH_MAX];     /* of the page, absolute; "" = none */
};

#define DEVCONF_ROWS 14 /* the compiler counts them */
extern const struct conf_row devconf_rows[DEVCONF_ROWS];

/* 0; 1 when --help was printed; -1 with *e: ERR_INPUT says which setting and
 * what to do. */
int devconf_load(struct devconf *c, int argc, char **argv, struct err *e);

#endif
