/*
 * Where to attach: the controller's attach_url taken apart, judged, and
 * resolved. wss everywhere; ws on loopback alone. Nothing else is ever
 * dialled. Source: SECURITY rule 17.
 */
#ifndef PODTERM_CLIENT_TARGET_H
#define PODTERM_CLIENT_TARGET_H

#include "base/err.h"
#include "base/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define TARGET_ADDRS_MAX 8

struct target {
    bool is_tls;
    char name[URL_HOST_MAX + 1];  /* to resolve */
    char host[URL_HOST_MAX + 16]; /* Host header: name and port if it is not
                                     the scheme's own */
    char path[URL_MAX];
    uint16_t port;
    struct sockaddr_storage addrs[TARGET_ADDRS_MAX];
    size_t addr_count;
};

/* Take apart and judge. ERR_DENIED: ws to another machine; ERR_INPUT. Pure. */
int target_parse(const char *attach_url, struct target *out, struct err *e);
/* Fill addrs (blocking). For ws only loopback addresses stay. ERR_PEER: the
 * name is not known now. */
int target_resolve(struct target *t, struct err *e);

#endif
