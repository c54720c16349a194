/*
 * The session routes. Each runs on a worker with c->who checked; a session
 * that is not the caller's own is 404, like one that does not exist.
 */
#ifndef PODTERM_CONTROLLER_SESSIONS_H
#define PODTERM_CONTROLLER_SESSIONS_H

#define SESSIONS_PAGE 50 /* of a list, unless ?limit= says */
#define SESSIONS_PAGE_MAX 100

struct call;

void sessions_create(struct call *c); /* POST /api/sessions */
void sessions_list(struct call *c);   /* GET /api/sessions */
void sessions_get(struct call *c);
void sessions_patch(struct call *c);
void sessions_delete(struct call *c);
void sessions_token(struct call *c);

#endif
