/*
 * Fed whole, bytewise and in pieces, the filter gives the same output, within
 * its bound; plain UTF-8 text loses nothing; and a second, simpler reading of
 * the output finds nothing of what must be dropped.
 */
#include "client/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 4096

static bool is_again; /* what is filtered was shown before */

static const char *const numbers[] = {FILTER_OSC};

/* Length of a well-formed character of more than one byte at s, else 0. */
static size_t character(const uint8_t *s, size_t len)
{
    unsigned long value;
    size_t n;

    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (len < n)
        return 0;
    value = s[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3f);
    }
    if (value < (n == 2   ? 0x80UL
                 : n == 3 ? 0x800UL
                          : 0x10000UL) ||
        value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    return n;
}

/* Is s one of the numbers, with what may follow an OSC's number? */
static int is_osc_allowed(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        size_t n = strlen(numbers[i]);

        if (len >= n && !memcmp(s, numbers[i], n) &&
            (len == n || s[n] < '0' || s[n] > '9'))
            return 1;
    }
    return 0;
}

/* The text of one CSI behind its introducer, to its final byte. */
static void check_csi(const uint8_t *s, size_t len)
{
    char text[FILTER_HELD_MAX + 1] = {0}, final;
    size_t n = 0;
    unsigned long first;

    while (n < len && s[n] >= 0x20 && s[n] < 0x40)
        n++;
    if (n == len || n >= sizeof(text) || s[n] < 0x40 || s[n] > 0x7e)
        abort(); /* never passed in parts */
    final = (char)s[n];
    memcpy(text, s, n);
    first = strtoul(text + strspn(text, "<=>?"), NULL, 10);
    if (strchr("iy", final) ||
        (final == 't' && !strchr(text, '$') && (first == 20 || first == 21)) ||
        (final == 'w' && strchr(text, '$')) ||
        (final == 'u' && strpbrk(text, "$&")) ||
        (final == 'z' && strchr(text, '*')))
        abort();
    if (is_again &&
        ((final == 'c' && text[0] != '?') || (final == 'n' && text[0] != '>') ||
         (strchr("umS", final) && text[0] == '?') ||
         (final == 'p' && strchr(text, '$')) ||
         (final == 'q' && text[0] == '>') ||
         (final == 't' && !strchr(text, '$') && first >= 11 && first <= 19)))
        abort();
    if (text[0] == '?' && strchr("hl", final))
        for (char *p = strtok(text + 1, ";:"); p; p = strtok(NULL, ";:"))
            if (strtoul(p, NULL, 10) == (final == 'l' ? 2 : 38))
                abort();
}

static void check_control(int c1, const uint8_t *s, size_t len)
{
    if (c1 == 0x90 || c1 == 0x98 || c1 == 0x9e || c1 == 0x9f)
        abort();
    if (c1 == 0x9d && len && !is_osc_allowed(s, len))
        abort();
    if (c1 == 0x9b)
        check_csi(s, len);
}

static void rescan(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = character(s + i, len - i);

        if (s[i] == 0x05)
            abort();
        if (s[i] == 0x1b) {
            if (i + 1 == len)
                abort(); /* never passed in parts */
            if (s[i + 1] == '}' || s[i + 1] == 'k' ||
                (s[i + 1] == '%' && (i + 2 == len || s[i + 2] != 'G')))
                abort();
            if (s[i + 1] >= 0x40 && s[i + 1] < 0x60)
                check_control(s[i + 1] + 0x40, s + i + 2, len - i - 2);
        } else if (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0) {
            check_control(s[i + 1], s + i + 2, len - i - 2);
        } else if (n == 0 && s[i] >= 0x80 && s[i] < 0xa0) {
            check_control(s[i], s + i + 1, len - i - 1);
        }
        i += n ? n : 1;
    }
}

/* Text without controls, all well-formed. */
static int is_plain(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = character(s + i, len - i);

        if (n == 2 && s[i] == 0xc2 && s[i + 1] < 0xa0)
            return 0;
        if (n == 0 &&
            (s[i] >= 0x7f || (s[i] < 0x20 && !strchr("\a\b\t\n\r", s[i]))))
            return 0;
        if (n == 0 && s[i] == 0)
            return 0;
        i += n ? n : 1;
    }
    return 1;
}

static size_t run(const uint8_t *in, size_t len, size_t step, uint8_t *out)
{
    struct filter f;
    size_t at = 0, done = 0;

    filter_init(&f);
    f.is_again = is_again;
    while (done < len) {
        size_t n = len - done < step ? len - done : step;
        uint8_t *piece = malloc(n + FILTER_HELD_MAX); /* its exact bound */
        size_t got = filter_run(&f, in + done, n, piece);

        if (at + got > done + n)
            abort(); /* never more than what came */
        memcpy(out + at, piece, got);
        free(piece);
        at += got;
        done += n;
    }
    return at;
}

static void filter_all(const uint8_t *data, size_t size)
{
    static uint8_t whole[MOST], pieces[MOST];
    size_t len;

    len = run(data, size, MOST, whole);
    for (size_t step = 1; step <= 7; step += 3)
        if (run(data, size, step, pieces) != len ||
            memcmp(whole, pieces, len) != 0)
            abort();
    rescan(whole, len);
    if (is_plain(data, size) && (len != size || memcmp(data, whole, len) != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MOST)
        return 0;
    for (int again = 0; again < 2; again++) {
        is_again = again;
        filter_all(data, size);
    }
    return 0;
}
