/*
 * Within base/ws.c's doorway: what is refused before libwebsockets sees it,
 * and the document it is refused with.
 */
#ifndef PODTERM_BASE_WS_TARGET_H
#define PODTERM_BASE_WS_TARGET_H

#include "base/ws_internal.h"

#define WS_PROBLEM_MAX 320 /* bytes of a document */
#define WS_PROBLEM_HEADERS 5

/* A plain connection was accepted: its head is looked at first. */
void ws_target_watch(struct ws_conn *c);
void ws_target_stop(struct ws_conn *c);
/* Status to refuse with, 0, or -1 while text holds no whole line. Only the
 * exact path is served: one that is encoded, or has empty or dot segments, is
 * 404; what is malformed 400; an unknown method 501. Source: RFC 9112 3. */
int ws_target_judge(const char *text, size_t len);
/* 400 for a head with a line that ends in LF alone, that is no header or
 * whose name libwebsockets would stumble over; 0, or -1 while text holds no
 * whole head. Source: RFC 9112 2.2, 5.1. */
int ws_target_lines(const char *text, size_t len);

/* --- ws_http.c --- */

/* A request that libwebsockets never saw is answered and dropped. */
void ws_http_refuse_early(struct ws_conn *c, int status);
bool ws_http_is_method(const char *name, size_t len);

/* --- ws_problem.c --- */

extern const struct ws_header ws_problem_headers[WS_PROBLEM_HEADERS];
/* Fills out; its length. */
size_t ws_problem(int status, char out[WS_PROBLEM_MAX]);
const char *ws_phrase(int status); /* 404: "Not Found" */

#endif
