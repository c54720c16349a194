/*
 * The beginning of a TLS connection as its client sends it, read so far that
 * the name of the server is known. Pure functions over the caller's bytes,
 * which come from a program that is out to hide where it goes: what cannot be
 * read, or could mean two things, is refused.
 * Source: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3, RFC 9849.
 */
#ifndef PODTERM_AGENT_HELLO_H
#define PODTERM_AGENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELLO_MAX 16384      /* bytes of a ClientHello, its four of head too */
#define HELLO_WIRE_MAX 20480 /* the same in its records: what to buffer */
#define HELLO_NAME_MAX 253

enum hello_verdict {
    HELLO_MORE, /* bytes are missing (never at HELLO_WIRE_MAX) */
    HELLO_WHOLE,
    HELLO_PASSES,  /* hello_next: these bytes are none, go on with the next */
    HELLO_OVER,    /* hello_next: no other can come */
    HELLO_NOT_TLS, /* something else is spoken */
    HELLO_BROKEN,  /* no ClientHello, or one that says something twice */
    HELLO_TOO_LARGE,
    HELLO_NAMELESS,  /* no server name, or one that is no DNS name */
    HELLO_ENCRYPTED, /* it may hold another one, encrypted for the server */
    HELLO_OTHER,     /* hello_next: with another name than the first */
};

struct hello {
    char name[HELLO_NAME_MAX + 1]; /* HELLO_WHOLE: of the server, lower case */
    size_t used;                   /* bytes up to its end */
    bool has_early_data;
};

/* From the connection's first byte on. */
enum hello_verdict hello_read(const uint8_t *bytes, size_t len,
                              struct hello *out);

/*
 * What the client sends next: a server may ask for a second ClientHello, and
 * what stands there counts. first: the one read before. Give it what comes
 * behind that, record by record, until HELLO_OVER; used: bytes of this record
 * (HELLO_PASSES), or of the second ClientHello (HELLO_WHOLE).
 */
enum hello_verdict hello_next(const uint8_t *bytes, size_t len,
                              const struct hello *first, size_t *used);

/* Why it is refused, for a person: "its TLS …"; NULL for the first four. */
const char *hello_sentence(enum hello_verdict v);

#endif
