/*
 * The lines of an HTTP/1.1 head, for what faces strangers: CRLF line ends, no
 * folding, no control characters. Pure functions over the caller's bytes;
 * nothing is allocated.
 * Source: RFC 9112 sections 2 and 5, RFC 9110 section 5.6.
 */
#ifndef PODTERM_BASE_HTTP_HEAD_H
#define PODTERM_BASE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes inside the head; at is NULL when there are none. */
struct http_text {
    const char *at;
    size_t len;
};

/* Equal, ASCII case aside? */
bool http_text_is(struct http_text t, const char *word);
bool http_text_is_token(struct http_text t);
bool http_text_is_visible(struct http_text t); /* ASCII without blanks */

/*
 * Look for the end of a head that arrives in pieces.
 *
 * seen     bytes judged by earlier calls, 0 at first; kept by this function
 * returns  length of the head with its empty line, 0 = not yet whole,
 *          -1 = a byte or line end that no head may hold
 */
long http_head_end(const char *bytes, size_t len, size_t *seen);

/* Take the next line off the rest of a head, without its CRLF. */
bool http_line_take(struct http_text *rest, struct http_text *line);
/* "Name: value" taken apart, blanks around the value aside. -1: malformed, or
 * folded. */
int http_field_take(struct http_text line, struct http_text *name,
                    struct http_text *value);
/* Is word among the comma-separated tokens? exact: its case counts. -1 when
 * one is no token. */
int http_list_has(struct http_text list, const char *word, bool exact);

#endif
