/* Certificates made on the spot for tests. */
#ifndef PODTERM_TESTS_LIB_CERTS_H
#define PODTERM_TESTS_LIB_CERTS_H

/* Write into dir: <name>-ca.pem, <name>.pem (a leaf of that CA for san) and
 * <name>.key (0600). san: "DNS:localhost,IP:127.0.0.1". Aborts on failure. */
void certs_make(const char *dir, const char *name, const char *san);

/* <name>-ca.pem into ca_dir under the hash name that OpenSSL looks for in a
 * directory of roots. */
void certs_plant(const char *dir, const char *name, const char *ca_dir);

#endif
