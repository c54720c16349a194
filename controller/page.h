/*
 * The web terminal's page: its files out of `webdir`, with the headers that
 * make a browser hold to them, and what the page has to know of this
 * installation before anybody has signed in. Files are answered on the loop:
 * they are in memory.
 */
#ifndef PODTERM_CONTROLLER_PAGE_H
#define PODTERM_CONTROLLER_PAGE_H

#include "controller/settings.h"
#include "controller/webdir.h"

#define PAGE_METHODS "GET, HEAD"

struct call;
struct page;

/* Read --web-dir. NULL where that is empty, or with *e: what is wrong. */
struct page *page_open(const struct settings *set, struct err *e);
/* After the last answer has gone: bodies are sent from here. Takes NULL. */
void page_close(struct page *p);

/* The file of this path; NULL: there is none, or (p NULL) no page. */
const struct webdir_file *page_find(const struct page *p, const char *path);
/* Answer a GET or HEAD with the copy of f that the browser likes best, or
 * with 304 when it has it. */
void page_answer(const struct page *p, const struct webdir_file *f,
                 struct call *c);

/* GET /web/config.json, with a page or without. */
void page_config(struct call *c);

/* Content-Security-Policy of the page's files, for sessions at this
 * --attach-url, the caller's. */
char *page_policy(const char *attach_url);

#endif
