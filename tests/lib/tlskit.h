/*
 * What tests of TLS need at both ends: a key with its id, a directory with
 * certificates.
 */
#ifndef PODTERM_TESTS_LIB_TLSKIT_H
#define PODTERM_TESTS_LIB_TLSKIT_H

#include <stddef.h>
#include <stdint.h>

#define KIT_ID "abcdefghijklmnopqrstuvwxyz"
#define KIT_TAG 4711

extern const uint8_t kit_key[32]; /* the one that goes with KIT_ID */
extern const uint8_t kit_other_key[32];
extern char *kit_dir;

/* A server's psk_find that knows KIT_ID alone. */
int kit_find(void *arg, const uint8_t *id, size_t len, uint8_t key[32],
             uint64_t *tag);

/*
 * A cmocka group's setup and teardown: kit_dir with "srv" (localhost,
 * *.wild.test, 127.0.0.1 and ::1) and "new" (localhost), each as
 * certs_make makes it.
 */
int kit_setup(void **state);
int kit_teardown(void **state);
/* Of that directory: "srv.pem", "srv.key", "srv-ca.pem"; valid for the next
 * three calls. */
const char *kit_path(const char *name);

#endif
