/*
 * What of the kernel's cage a program is to have, as START asks for it: the
 * filters of its system calls, the files it sees, the ports it may connect
 * to; and in words what of it holds.
 */
#ifndef PODTERM_AGENT_SANDBOX_H
#define PODTERM_AGENT_SANDBOX_H

#include "agent/callfilter.h"
#include "agent/shimlink.h"
#include "agent/spec.h"
#include "base/err.h"

#define SANDBOX_TEXT_MAX 160

struct sandbox {
    struct shimlink_cage cage; /* points at what follows */
    struct callfilter calls, arguments, no_inet;
    const char *readable[SHIM_PATHS_MAX + 1];
    const char *writable[SHIM_PATHS_MAX + 1];
};

/* root, home: the bundle and HOME as the runner sees them; borrowed, as long
 * as the sandbox is used. -1: ERR_SYSTEM. It must not be moved. */
int sandbox_init(struct sandbox *s, const struct agent_spec *spec,
                 const char *root, const char *home, struct err *e);
void sandbox_fini(struct sandbox *s);

/* The ports of 127.0.0.1 that a program finds its proxies at: how many. */
int sandbox_ports(const struct agent_spec *spec, uint16_t out[SHIM_PORTS_MAX]);

/* The layers around a program (enum cage_layer, base/vocab.h), out of what
 * its shim told (enum shim_layer). */
unsigned sandbox_layers(const struct agent_spec *spec, uint8_t held);
/* For the owner of a program that some layer is missing around: a sentence,
 * or "" when there is nothing to say. */
void sandbox_missing(const struct agent_spec *spec, uint8_t held,
                     uint8_t landlock, char out[SANDBOX_TEXT_MAX]);

#endif
