/*
 * A small file server that misbehaves as it is told: what a bundle's host, or
 * whoever stands in for it, may do. One thread, one connection at a time,
 * each answered by the next reply of the script (the last one repeats).
 */
#ifndef PODTERM_TESTS_LIB_FILESERVER_H
#define PODTERM_TESTS_LIB_FILESERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILESERVER_HEADS 16 /* requests whose heads are kept */

enum fileserver_trick {
    FILESERVER_PLAIN,
    FILESERVER_CHUNKED,  /* no Content-Length */
    FILESERVER_ENDLESS,  /* chunked, and it never ends */
    FILESERVER_DRIP,     /* drip_bytes each 100 ms */
    FILESERVER_SILENT,   /* takes the request and says nothing */
    FILESERVER_HANG_UP,  /* closes without an answer */
    FILESERVER_NO_RANGE, /* Range is not heard: 200 and the whole */
};

struct fileserver_reply {
    int status; /* 0 = 200, or 206 to a Range that fits */
    enum fileserver_trick trick;
    const char *head;  /* further header lines, each with CR LF; NULL */
    const char *etag;  /* with its quotes; NULL = none. If-Range is judged
                          by it */
    const char *range; /* Content-Range of a 206 instead of the right one */
    int64_t drop_at;   /* the connection breaks after that many bytes of the
                          file (counted from its start); 0 = it does not */
    int64_t told;      /* Content-Length instead of the right one; 0 = right */
    size_t drip_bytes;
    const void *body; /* instead of the server's */
    size_t len;
};

struct fileserver;

/* Serve body on 127.0.0.1. tls_dir: "srv.pem" and "srv.key" in it make it
 * https, "client-ca.pem" asks who comes for a certificate of that CA;
 * NULL = http. The script is copied, but not the bytes that
 * it and body point to. */
struct fileserver *fileserver_start(const void *body, size_t len,
                                    const struct fileserver_reply *script,
                                    size_t count, const char *tls_dir);
/* The same over https, with a reply that is made for each request; body is
 * the request's. decide runs on the server's thread and may take its time. */
typedef void (*fileserver_decide)(void *arg, const char *head, const char *body,
                                  struct fileserver_reply *reply);
struct fileserver *fileserver_start_with(fileserver_decide decide, void *arg,
                                         const char *tls_dir);
int fileserver_port(const struct fileserver *s);
/* How many requests came, and the head of number i (0 = the first). */
int fileserver_requests(struct fileserver *s);
const char *fileserver_head(struct fileserver *s, int i);
void fileserver_stop(struct fileserver *s); /* takes NULL */

#endif
