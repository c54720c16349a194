#include "controller/answer.h"

#include "base/mem.h"
#include "base/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int status;
    const char *title;
} titles[] = {
    {400, "Bad request"},
    {401, "Not authenticated"},
    {403, "Forbidden"},
    {404, "Not found"},
    {405, "Method not allowed"},
    {406, "Not acceptable"},
    {409, "Conflict"},
    {413, "Too large"},
    {415, "Unsupported media type"},
    {421, "Misdirected request"},
    {422, "Cannot be done as asked"},
    {429, "Too many"},
    {502, "Bad gateway"},
    {503, "Unavailable"},
    {504, "Timed out"},
};

static const char *title_of(int status)
{
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

void answer_fini(struct answer *a)
{
    if (a->body)
        wipe(a->body, strlen(a->body));
    free(a->body);
    a->body = NULL;
}

static void answer_set(struct answer *a, int status, const char *type,
                       char *body)
{
    answer_fini(a);
    a->status = status;
    a->type = type;
    a->body = body;
}

void answer_json(struct answer *a, int status, struct json *root)
{
    answer_set(a, status, "application/json", json_text(root));
    json_free(root);
}

void answer_text(struct answer *a, int status, const char *type, char *body)
{
    answer_set(a, status, type, body);
}

void answer_lasting(struct answer *a, int status, const char *type,
                    const void *bytes, size_t len)
{
    answer_set(a, status, type, NULL);
    a->is_lasting = true;
    a->lasting = bytes;
    a->lasting_len = len;
}

void answer_header(struct answer *a, const char *name, const char *value)
{
    if (a->header_count == ANSWER_HEADERS_MAX ||
        strlen(value) >= ANSWER_VALUE_MAX)
        return;
    a->headers[a->header_count].name = name;
    snprintf(a->headers[a->header_count].value, ANSWER_VALUE_MAX, "%s", value);
    a->header_count++;
}

void answer_problem_with(struct answer *a, int status, const char *code,
                         const char *detail, const char *member,
                         struct json *value)
{
    struct json *p = json_object();
    char *type = mem_printf("urn:podterm:problem:%s", code);

    json_set_str(p, "type", type);
    free(type);
    json_set_str(p, "title", title_of(status));
    json_set_int(p, "status", status);
    json_set_str(p, "detail", detail);
    json_set_str(p, "code", code);
    if (value)
        json_set(p, member, value);
    answer_set(a, status, "application/problem+json", json_text(p));
    json_free(p);
    if (status == 401)
        answer_header(a, "www-authenticate", "Bearer");
    if (status == 503)
        answer_header(a, "retry-after", "2");
}

void answer_problem(struct answer *a, int status, const char *code,
                    const char *detail)
{
    answer_problem_with(a, status, code, detail, NULL, NULL);
}

void answer_err(struct answer *a, const struct err *e)
{
    bool is_ours = e->kind == ERR_SYSTEM || e->kind == ERR_PEER ||
                   e->kind == ERR_TIMEOUT || e->kind == ERR_NONE;

    if (is_ours && e->is_full)
        answer_problem(
            a, 503, "unavailable",
            "The server's disk is full: free some space there and try "
            "again.");
    else if (e->kind == ERR_ABSENT)
        answer_problem(a, 404, "not_found", "There is no such thing here.");
    else if (is_ours)
        answer_problem(a, 503, "unavailable",
                       "This cannot be done at the moment. Try again.");
    else
        answer_problem(a, err_http_status(e->kind), err_word(e->kind), e->text);
}
