#include "tests/lib/certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_S (24 * 60 * 60)

static void must(int ok)
{
    if (!ok)
        abort();
}

static void add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(ext && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
}

static X509 *make(EVP_PKEY *key, const char *cn, X509 *issuer,
                  EVP_PKEY *issuer_key, const char *san)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);

    must(X509_set_version(cert, 2));
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++));
    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), DAY_S);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    (const unsigned char *)cn, -1, -1, 0));
    must(X509_set_issuer_name(cert,
                              issuer ? X509_get_subject_name(issuer) : name));
    must(X509_set_pubkey(cert, key));
    add_ext(cert, issuer ? issuer : cert, NID_basic_constraints,
            issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    /* what the strictest of the programs that check them ask for */
    add_ext(cert, issuer ? issuer : cert, NID_subject_key_identifier, "hash");
    if (issuer)
        add_ext(cert, issuer, NID_authority_key_identifier, "keyid");
    else
        add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    if (san)
        add_ext(cert, issuer, NID_subject_alt_name, san);
    must(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    return cert;
}

static void write_cert(const char *dir, const char *name, const char *tail,
                       X509 *cert)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s%s.pem", dir, name, tail);
    f = fopen(path, "w");
    must(f && PEM_write_X509(f, cert));
    fclose(f);
}

void certs_make(const char *dir, const char *name, const char *san)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *ca = make(ca_key, name, NULL, ca_key, NULL);
    X509 *leaf = make(key, "leaf", ca, ca_key, san);
    char path[512];
    FILE *f;

    write_cert(dir, name, "-ca", ca);
    write_cert(dir, name, "", leaf);
    snprintf(path, sizeof(path), "%s/%s.key", dir, name);
    f = fopen(path, "w");
    must(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    must(fchmod(fileno(f), 0600) == 0);
    fclose(f);
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
}

void certs_plant(const char *dir, const char *name, const char *ca_dir)
{
    char from[512], to[600];
    X509 *ca;
    FILE *f;

    snprintf(from, sizeof(from), "%s/%s-ca.pem", dir, name);
    f = fopen(from, "r");
    must(f != NULL);
    ca = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    must(ca != NULL);
    snprintf(to, sizeof(to), "%s/%08lx.0", ca_dir, X509_subject_name_hash(ca));
    f = fopen(to, "w");
    must(f && PEM_write_X509(f, ca));
    fclose(f);
    X509_free(ca);
}
