/*
 * What a browser says of the copies it can take and of the one it has:
 * Accept-Encoding and If-None-Match. Pure; fed with a peer's bytes.
 * Source: RFC 9110 8.8.3, 12.4.2, 12.5.3, 13.1.2.
 */
#ifndef PODTERM_CONTROLLER_NEGOTIATE_H
#define PODTERM_CONTROLLER_NEGOTIATE_H

#include <stdbool.h>
#include <stdint.h>

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_BR, CODING_COUNT };

/* "gzip"; NULL for identity, which is not named in an answer. */
const char *negotiate_name(enum coding c);

/*
 * Which copy to send: the one that is liked best, of equals the smallest.
 *
 * accept   value of Accept-Encoding; NULL, or none that is understood:
 *          identity
 * sizes    bytes of each copy that is there, else -1
 * returns  an enum coding, or -1 where each that is there is refused
 */
int negotiate_coding(const char *accept, const int64_t sizes[CODING_COUNT]);

/* Is this entity tag ("\"abc\"") among those of If-None-Match? header may be
 * NULL; one that is malformed has none. */
bool negotiate_has(const char *header, const char *etag);

#endif
