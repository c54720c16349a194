/*
 * The terminal protocol podterm.v1: message types, limits, and reading and
 * writing of the fixed-layout messages. JSON bodies are base/json.h's.
 * Source: PROTOCOL.md, "Terminal protocol".
 */
#ifndef PODTERM_BASE_FRAME_H
#define PODTERM_BASE_FRAME_H

#include "base/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SUBPROTOCOL "podterm.v1"

/* name, number, smallest and largest body in bytes (behind the type byte),
 * roles that may send it: O owner, V viewer, C control */
#define FRAME_UP(X)                                                            \
    X(HELLO, 0x01, 2, 8191, FRAME_O | FRAME_V | FRAME_C)                       \
    X(INPUT, 0x02, 9, 8 + 32768, FRAME_O)                                      \
    X(RESIZE, 0x03, 4, 4, FRAME_O)                                             \
    X(OUTPUT_ACK, 0x04, 8, 8, FRAME_O | FRAME_V)                               \
    X(SIGNAL, 0x05, 1, 1, FRAME_O)                                             \
    X(PING, 0x06, 8, 8, FRAME_O | FRAME_V)                                     \
    X(END, 0x07, 0, 0, FRAME_O | FRAME_C)                                      \
    X(VIEWERS, 0x08, 8, 8 + FRAME_VIEWERS_MAX * FRAME_SUBJECT_SIZE, FRAME_C)
#define FRAME_DOWN(X)                                                          \
    X(READY, 0x81, 2, 8191)                                                    \
    X(OUTPUT, 0x82, 9, 8 + 65536)                                              \
    X(INPUT_ACK, 0x83, 8, 8)                                                   \
    X(STAGE, 0x84, 2, 2047)                                                    \
    X(EXIT, 0x85, 2, 2047)                                                     \
    X(RESIZED, 0x86, 4, 4)                                                     \
    X(PONG, 0x87, 8, 8)                                                        \
    X(ERROR, 0x88, 2, 2047)                                                    \
    X(MOVE, 0x89, 0, 0)

#define FRAME_O (1u << ROLE_OWNER)
#define FRAME_V (1u << ROLE_VIEWER)
#define FRAME_C (1u << ROLE_CONTROL)

enum frame_type {
#define X(name, number, min, max, roles) FRAME_##name = number,
    FRAME_UP(X)
#undef X
#define X(name, number, min, max) FRAME_##name = number,
        FRAME_DOWN(X)
#undef X
};

#define FRAME_HELLO_MAX 8192        /* bytes, type included */
#define FRAME_INPUT_BYTES_MAX 32768 /* of typed bytes in one INPUT */
#define FRAME_UP_MAX (1 + 8 + FRAME_INPUT_BYTES_MAX)
#define FRAME_OUTPUT_BYTES_MAX 65536
#define FRAME_DOWN_MAX (1 + 8 + FRAME_OUTPUT_BYTES_MAX)
#define FRAME_CELLS_MIN 1
#define FRAME_CELLS_MAX 1000 /* columns and rows */
#define FRAME_VIEWERS_MAX 8
#define FRAME_SUBJECT_SIZE 256 /* 1..255 bytes, and length or terminator */
#define FRAME_VIEWERS_BYTES_MAX                                                \
    (1 + 8 + FRAME_VIEWERS_MAX * FRAME_SUBJECT_SIZE) /* a whole VIEWERS */

enum frame_signal { /* body of SIGNAL */
                    FRAME_SIG_INT = 1,
                    FRAME_SIG_QUIT = 2,
                    FRAME_SIG_TERM = 3,
                    FRAME_SIG_HUP = 4,
                    FRAME_SIG_KILL = 5,
};

/* One message, taken apart. Pointers go into the caller's bytes. */
struct frame {
    uint8_t type;
    uint64_t offset;     /* INPUT, OUTPUT, *_ACK; value of PING and PONG;
                            version of VIEWERS */
    const uint8_t *body; /* bytes of INPUT/OUTPUT; JSON text; subjects */
    size_t body_len;
    uint16_t cols, rows; /* RESIZE, RESIZED: FRAME_CELLS_MIN..MAX */
    uint8_t signal;      /* SIGNAL: an enum frame_signal */
};

/*
 * Take one whole message apart.
 *
 * is_up    true: only client-to-server types; false: only the other way
 * returns  0, or -1: empty, unknown type, wrong length, bad size or signal,
 *          an offset whose end passes 2^63
 */
int frame_parse(const void *bytes, size_t len, bool is_up, struct frame *out);

/* May this role send this type once it is attached? HELLO only first. */
bool frame_is_allowed(enum role role, uint8_t type);

/* Who may view a session: what VIEWERS carries. */
struct frame_viewers {
    uint64_t version; /* grows with every change of the list */
    uint32_t count;
    char subjects[FRAME_VIEWERS_MAX][FRAME_SUBJECT_SIZE]; /* rest zero */
};

/* Read the list of a VIEWERS that was taken apart. 0, or -1: too many, an
 * empty subject, one with a zero byte, a cut one; *out is left alone then. */
int frame_viewers_read(const struct frame *f, struct frame_viewers *out);
/* Write a whole VIEWERS to out (FRAME_VIEWERS_BYTES_MAX); its bytes. */
size_t frame_viewers(uint8_t *out, const struct frame_viewers *v);
/* Where on the list a subject stands, or -1. */
int frame_viewers_find(const struct frame_viewers *v, const char *subject);

/* Name of a type ("OUTPUT"), or "?" */
const char *frame_name(uint8_t type);

/* Write the head of a message to out; returns its bytes (1 or 9). The body
 * follows behind it. out has FRAME_HEAD_MAX bytes. */
#define FRAME_HEAD_MAX 9
size_t frame_head(uint8_t *out, uint8_t type);
size_t frame_head_offset(uint8_t *out, uint8_t type, uint64_t offset);
/* RESIZE and RESIZED whole: 5 bytes */
size_t frame_size(uint8_t *out, uint8_t type, uint16_t cols, uint16_t rows);

#endif
