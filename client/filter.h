/*
 * Filter of a program's terminal output before it reaches the user's own
 * terminal. What could read or write the clipboard, make the terminal answer
 * with text an attacker chose, show what else is on the screen, print, or
 * change how the terminal reads what follows, is dropped; all else passes
 * unchanged, byte for byte. Dropped, in 7-bit and in 8-bit form (a C1 control
 * as one byte or as UTF-8, which xterm takes for the same):
 * - OSC (ESC ]) whose number is not one of FILTER_OSC: so OSC 52 and its like
 *   (50, 99, 1337, 5522: answers and clipboards of other terminals), however
 *   the number is written; numbers are taken in canonical form alone
 * - DCS, APC, PM and SOS strings, terminology's ESC }
 * - titles as screen and tmux have them (ESC k): these take what follows for
 *   a string, others show it, so that no end of it would be right for both
 * - title reports (CSI 20 t, CSI 21 t), checksums of the screen (CSI * y, and
 *   with it all of CSI y), state reports (CSI $ w, CSI $ u, CSI & u), stored
 *   macros (CSI * z), printing (CSI i)
 * - VT52 and Tektronix modes (CSI ? 2 l, CSI ? 38 h) and any character set but
 *   UTF-8 (ESC %): in these the same bytes mean something else
 * - what would outlast the program, with nobody who knows what it was before:
 *   what keys send (CSI ? 67, 1050 to 1053, 1060, 1061 h and l), the level of
 *   conformance (CSI " p), the pointer's hiding (CSI > p), and that there is an
 *   alternate screen (CSI ? 1046 h and l)
 * - ENQ (answerback), CAN outside of a string (ZMODEM begins with it)
 * - control sequences that are malformed or longer than FILTER_HELD_MAX; of a
 *   broken UTF-8 sequence the byte or bytes that a lax decoder would take for
 *   something else
 * Answers that hold only numbers (cursor position, modes, colours, device
 * attributes) are left alone: programs need them.
 *
 * Where what it is given was shown before (is_again), so are all other
 * questions, for they were answered then, and an answer is typed into the
 * program: CSI c, CSI n, CSI x, CSI ? u, CSI ? m, CSI ? S, CSI > q, CSI $ p,
 * CSI # R, CSI # |, CSI ' |, the reports of CSI t, ESC Z; and in an OSC for
 * colours or the pointer '?' becomes '#', which names neither.
 *
 * A control character within a sequence is passed ahead of it, as terminals
 * carry it out; CAN, SUB, ESC and C1 controls end a string wherever it stands.
 * The terminal is taken to be in UTF-8 mode: a continuation byte is never a
 * control. Source: SECURITY rule 8; ECMA-48; xterm's ctlseqs.
 *
 * Pure: no I/O, no allocation; a sequence may be cut anywhere between two
 * calls.
 */
#ifndef PODTERM_CLIENT_FILTER_H
#define PODTERM_CLIENT_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Titles, colours, directory, links, pointer, prompt marks; of 9 only the
 * progress bar (9;4). */
#define FILTER_OSC                                                             \
    "0", "1", "2", "4", "5", "6", "7", "8", "9;4", "10", "11", "12", "13",     \
        "14", "15", "16", "17", "18", "19", "22", "104", "105", "106", "110",  \
        "111", "112", "113", "114", "115", "116", "117", "118", "119", "133"

#define FILTER_HELD_MAX 256     /* bytes of an undecided sequence kept back */
#define FILTER_STRING_MAX 16384 /* bytes of an OSC that passes */

struct filter {
    bool is_again; /* the caller's: what comes was shown before */
    /* all else is private */
    int state;
    uint8_t held[FILTER_HELD_MAX - 4]; /* an undecided sequence */
    size_t held_len;
    uint8_t utf8[4]; /* a character not yet whole */
    size_t utf8_len;
    size_t string_len; /* of the OSC that is passing */
    bool is_doomed;    /* the sequence will be dropped, however it ends */
    bool is_open;      /* the terminal is inside an OSC that we passed */
    bool is_asking;    /* that OSC may ask for a colour or the pointer */
    bool is_skipped;   /* ESC came while a string was being dropped */
};

void filter_init(struct filter *f);
/* Filter len bytes into out, which has room for len + FILTER_HELD_MAX.
 * Returns the bytes written. */
size_t filter_run(struct filter *f, const uint8_t *in, size_t len,
                  uint8_t *out);

#endif
