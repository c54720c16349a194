/*
 * Problem documents (RFC 9457) for what is refused before a service sees it;
 * the same members as the controller's own. And the words for a status.
 */
#include "base/ws_target.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *title, *code, *detail;
} problems[] = {
    {400, "Bad request", "bad_request",
     "This is no HTTP request that is understood here."},
    {404, "Not found", "not_found", "There is no such thing here."},
    {405, "Method not allowed", "method",
     "This address does not know that method."},
    {411, "Length required", "length_required",
     "A body needs a Content-Length; none at all is Content-Length: 0."},
    {413, "Too large", "too_large", "The body is longer than is read here."},
    {429, "Too many", "busy",
     "Too many connections of this address. Try again in a moment."},
    {501, "Not implemented", "method", "That method is not known here."},
};

const struct ws_header ws_problem_headers[WS_PROBLEM_HEADERS] = {
    {"content-type", "application/problem+json"},
    {"x-content-type-options", "nosniff"},
    {"referrer-policy", "no-referrer"},
    {"content-security-policy", "default-src 'none'; frame-ancestors 'none'"},
    {"cache-control", "no-store"},
};

size_t ws_problem(int status, char out[WS_PROBLEM_MAX])
{
    size_t i = 0;
    int len;

    while (i + 1 < sizeof(problems) / sizeof(*problems) &&
           problems[i].status != status)
        i++;
    len = snprintf(out, WS_PROBLEM_MAX,
                   "{\"type\":\"urn:podterm:problem:%s\",\"title\":\"%s\","
                   "\"status\":%d,\"detail\":\"%s\",\"code\":\"%s\"}",
                   problems[i].code, problems[i].title, status,
                   problems[i].detail, problems[i].code);
    return len < 0 ? 0 : (size_t)len;
}

const char *ws_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } table[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {501, "Not Implemented"},
        {504, "Gateway Timeout"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
        if (table[i].status == status)
            return table[i].phrase;
    return "Status";
}
