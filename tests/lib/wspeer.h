/*
 * One end of a WebSocket for tests: a client or an agent, plain or TLS,
 * blocking with a time limit. Every function fails the test when the peer
 * does not do in time what it is asked for, unless it says otherwise.
 */
#ifndef PODTERM_TESTS_LIB_WSPEER_H
#define PODTERM_TESTS_LIB_WSPEER_H

#include "base/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WSPEER_MS 5000 /* how long an answer may take */
/* The same for what is only waited for; a test with slow parts may set it. */
extern int wspeer_patience_ms;

struct wspeer {
    int fd;
    struct tls *tls;
    bool is_agent; /* we are the server: our frames are not masked */
    bool may_die;  /* the other side may vanish: what cannot be sent is dropped,
                      and the next wspeer_recv tells the end */
    uint8_t *in;   /* bytes read, not yet taken */
    size_t in_len;
};

struct wsmsg { /* one frame, unmasked; bytes are the peer's until the next */
    uint8_t opcode;
    bool is_final;
    uint8_t *bytes;
    size_t len;
};

/* Connect to "127.0.0.1:PORT". from: local address, NULL = any. */
struct wspeer *wspeer_dial(const char *addr, const char *from);
/* The same; NULL when nobody listens there. The peer may die. */
struct wspeer *wspeer_try_dial(const char *addr);
struct wspeer *wspeer_of(int fd);
void wspeer_free(struct wspeer *p); /* closes */
/* Drop it with a reset. */
void wspeer_reset(struct wspeer *p);

/* Handshake on what p->tls is. false = it failed. */
bool wspeer_shake(struct wspeer *p);

void wspeer_write(struct wspeer *p, const void *bytes, size_t len);
void wspeer_puts(struct wspeer *p, const char *text);
/* Write what goes within ms; how much. */
size_t wspeer_try_write(struct wspeer *p, const void *bytes, size_t len,
                        int ms);
/* More bytes into p->in: > 0, 0 = nothing within ms, -1 = the end. */
int wspeer_more(struct wspeer *p, int ms);
/* A whole head, terminated, freed by the caller; NULL = the end came. */
char *wspeer_head(struct wspeer *p);
/* Does the peer end the connection within ms? What it sends is dropped. */
bool wspeer_ends(struct wspeer *p, int ms);

void wspeer_send(struct wspeer *p, uint8_t opcode, const void *bytes,
                 size_t len);
void wspeer_binary(struct wspeer *p, uint8_t type, const char *body);
/* The next frame; false = the end. */
bool wspeer_recv(struct wspeer *p, struct wsmsg *out);

/* OUTPUT of len bytes that tell their number. */
void wspeer_fill(uint8_t *message, size_t len, uint32_t number);
void wspeer_send_numbered(struct wspeer *p, uint32_t number, size_t len);
/* The next message is this one; pings and pongs are skipped. */
void wspeer_expect_numbered(struct wspeer *p, uint32_t number, size_t len);

/* Client: send the upgrade request with extra header lines. */
void wspeer_ask(struct wspeer *p, const char *host, const char *extra);
/* ask, and expect 101. */
void wspeer_upgrade(struct wspeer *p, const char *host, const char *extra);
/* The same; false when the connection ends or the answer is another. */
bool wspeer_try_upgrade(struct wspeer *p, const char *host);
/* Agent: read the request, answer 101. */
void wspeer_answer(struct wspeer *p);

/* Expect ERROR with this code word, then a close frame with code, then the
 * end; the ERROR's JSON text, freed by the caller. STAGE frames before it and
 * pings are skipped. */
char *wspeer_refused(struct wspeer *p, const char *word, int code);
/* Expect a bare close frame with code. */
void wspeer_closed(struct wspeer *p, int code);

#endif
