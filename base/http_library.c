#include "base/http_library.h"

#include "base/addr.h"

#include <assert.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the library ---
 *
 * libcurl brings some thirty libraries along, which cost every process that
 * starts 10 ms and half a megabyte. Most never fetch anything: it is loaded
 * at the first call. The functions have its names and types, so the compiler
 * checks every use of them as ever.
 */

static pthread_once_t http_once = PTHREAD_ONCE_INIT;
static void *http_library; /* NULL: it is not there */

static void *http_symbol(const char *name)
{
    void *at = dlsym(http_library, name);

    if (!at)
        abort(); /* another library of that name */
    return at;
}

#define HTTP_CALL(type, name, params, args)                                    \
    type name params                                                           \
    {                                                                          \
        return ((__typeof__(&name))http_symbol(#name))args;                    \
    }
HTTP_CALL(CURLcode, curl_global_init, (long flags), (flags))
HTTP_CALL(CURL *, curl_easy_init, (void), ())
HTTP_CALL(CURLcode, curl_easy_perform, (CURL * curl), (curl))
HTTP_CALL(void, curl_easy_cleanup, (CURL * curl), (curl))
HTTP_CALL(void, curl_easy_reset, (CURL * curl), (curl))
HTTP_CALL(const char *, curl_easy_strerror, (CURLcode code), (code))
HTTP_CALL(struct curl_slist *, curl_slist_append,
          (struct curl_slist * list, const char *text), (list, text))
HTTP_CALL(void, curl_slist_free_all, (struct curl_slist * list), (list))

HTTP_CALL(CURLcode, curl_easy_pause, (CURL * curl, int bits), (curl, bits))
HTTP_CALL(CURLM *, curl_multi_init, (void), ())
HTTP_CALL(CURLMcode, curl_multi_cleanup, (CURLM * multi), (multi))
HTTP_CALL(CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL *curl),
          (multi, curl))
HTTP_CALL(CURLMcode, curl_multi_remove_handle, (CURLM * multi, CURL *curl),
          (multi, curl))
HTTP_CALL(CURLMcode, curl_multi_socket_action,
          (CURLM * multi, curl_socket_t fd, int events, int *running),
          (multi, fd, events, running))
HTTP_CALL(CURLMcode, curl_multi_assign,
          (CURLM * multi, curl_socket_t fd, void *watch), (multi, fd, watch))
HTTP_CALL(CURLMsg *, curl_multi_info_read, (CURLM * multi, int *left),
          (multi, left))

/* One argument follows, an integer or a pointer: both fill a register. */
static_assert(sizeof(long) == sizeof(void *) &&
                  sizeof(curl_off_t) == sizeof(void *),
              "arguments of one size");

CURLcode(curl_easy_setopt)(CURL *curl, CURLoption option, ...)
{
    CURLcode (*call)(CURL *, CURLoption, ...) =
        (__typeof__(call))http_symbol("curl_easy_setopt");
    va_list ap;
    void *value;

    va_start(ap, option);
    value = va_arg(ap, void *);
    va_end(ap);
    return call(curl, option, value);
}

CURLcode(curl_easy_getinfo)(CURL *curl, CURLINFO info, ...)
{
    CURLcode (*call)(CURL *, CURLINFO, ...) =
        (__typeof__(call))http_symbol("curl_easy_getinfo");
    va_list ap;
    void *out;

    va_start(ap, info);
    out = va_arg(ap, void *);
    va_end(ap);
    return call(curl, info, out);
}

CURLMcode(curl_multi_setopt)(CURLM *multi, CURLMoption option, ...)
{
    CURLMcode (*call)(CURLM *, CURLMoption, ...) =
        (__typeof__(call))http_symbol("curl_multi_setopt");
    va_list ap;
    void *value;

    va_start(ap, option);
    value = va_arg(ap, void *);
    va_end(ap);
    return call(multi, option, value);
}

static void http_load(void)
{
    http_library = dlopen(HTTP_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (http_library && curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        abort();
}

bool http_library_load(void)
{
    pthread_once(&http_once, http_load);
    return http_library != NULL;
}

/* --- every request --- */

void http_set_basics(CURL *curl, bool allow_http, int connect_ms)
{
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR,
                     allow_http ? "http,https" : "https");
    /* never followed; if they were, never to another kind of URL */
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(connect_ms ? connect_ms : HTTP_CONNECT_MS));
    curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, (long)HTTP_KEEP_S);
}

void http_set_ca(CURL *curl, const char *path)
{
    curl_easy_setopt(curl, CURLOPT_CAINFO, path);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
}

/* --- addresses --- */

static bool http_is_judged(struct http_gate *g, const struct sockaddr *sa)
{
    struct err e = {0};

    if (!g->judge || g->judge(g->arg, sa, &e) == 0)
        return true;
    *g->e = e;
    g->is_failed = true;
    return false;
}

/* Called for each resolved address, before it is dialled. */
static curl_socket_t http_on_socket(void *arg, curlsocktype purpose,
                                    struct curl_sockaddr *sa)
{
    struct http_gate *g = arg;

    (void)purpose;
    if (!http_is_judged(g, &sa->addr))
        return CURL_SOCKET_BAD;
    g->is_failed = false; /* another address of the name may be right */
    return socket(sa->family, sa->socktype | SOCK_CLOEXEC, sa->protocol);
}

/* Called when connected, before the request leaves: who is it really? */
static int http_on_connected(void *arg, char *ip, char *local_ip, int port,
                             int local_port)
{
    struct http_gate *g = arg;
    struct sockaddr_storage ss;
    char text[80];
    struct err e = {0};

    (void)local_ip;
    (void)local_port;
    g->is_connected = true;
    if (!g->judge)
        return CURL_PREREQFUNC_OK;
    snprintf(text, sizeof(text), strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip,
             port);
    if (addr_parse(text, &ss, &e) < 0) {
        *g->e = e;
        g->is_failed = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (!http_is_judged(g, (const struct sockaddr *)(const void *)&ss))
        return CURL_PREREQFUNC_ABORT;
    g->is_failed = false; /* that another address was refused is past */
    return CURL_PREREQFUNC_OK;
}

void http_set_gate(CURL *curl, struct http_gate *g)
{
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, http_on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, g);
    curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, http_on_connected);
    curl_easy_setopt(curl, CURLOPT_PREREQDATA, g);
}

/* --- what a failure means --- */

/* The library's texts name hosts and ports, never a query. What it says of
 * this very call ("less than 1000 bytes/sec …") is taken for what has to do
 * with the network alone. */
int http_failure(const struct http_gate *g, CURLcode code, const char *said,
                 struct err *e)
{
    if (g->is_failed) {
        if (e != g->e)
            *e = *g->e;
        return -1;
    }
    if (said[0] &&
        (code == CURLE_OPERATION_TIMEDOUT || code == CURLE_COULDNT_CONNECT ||
         code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_PARTIAL_FILE ||
         code == CURLE_PEER_FAILED_VERIFICATION))
        return err_set(e, ERR_PEER, "%s", said);
    if (!g->is_connected &&
        (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL))
        return err_set(e, ERR_INPUT, "URL: %s", curl_easy_strerror(code));
    return err_set(e, ERR_PEER, "%s%s", curl_easy_strerror(code),
                   code == CURLE_SSL_CONNECT_ERROR
                       ? " (is it https that is spoken there, or http?)"
                       : "");
}
