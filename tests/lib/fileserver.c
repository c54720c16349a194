#include "tests/lib/fileserver.h"

#include "base/mem.h"
#include "base/tls.h"
#include "base/ws.h"

#include <assert.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 4096
#define DRIP_MS 100
#define WAIT_MS 100 /* between looks at the flag that ends it all */

struct fileserver {
    const uint8_t *body;
    size_t len;
    struct fileserver_reply *script; /* a copy: the thread may outlive a test */
    size_t count;
    fileserver_decide decide; /* NULL = the script */
    void *arg;
    int listen_fd, port;
    struct ssl_ctx_st *ctx;
    pthread_t thread;
    atomic_bool is_over;
    pthread_mutex_t lock;
    int requests;
    char heads[FILESERVER_HEADS][HEAD_MAX];
    /* of the connection */
    int fd;
    struct tls *tls;
    bool is_broken;
};

/* --- bytes --- */

static bool wait_for(struct fileserver *s, short events)
{
    struct pollfd p = {.fd = s->fd, .events = events};

    while (!atomic_load(&s->is_over))
        if (poll(&p, 1, WAIT_MS) > 0)
            return true;
    return false;
}

/* What an operation's result asks for: again, or the end. */
static bool again(struct fileserver *s, ssize_t r, short plain)
{
    if (!s->tls)
        return r < 0 && errno == EAGAIN && wait_for(s, plain);
    if (r == TLS_WANT_READ)
        return wait_for(s, POLLIN);
    return r == TLS_WANT_WRITE && wait_for(s, POLLOUT);
}

static void put(struct fileserver *s, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0 && !s->is_broken && !atomic_load(&s->is_over)) {
        ssize_t n = s->tls ? tls_write(s->tls, at, len)
                           : send(s->fd, at, len, MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (!again(s, n, POLLOUT)) {
            s->is_broken = true;
        }
    }
}

static void say(struct fileserver *s, const char *fmt, ...)
{
    char text[HEAD_MAX];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    assert(n > 0 && n < (int)sizeof(text));
    put(s, text, (size_t)n);
}

/* The body too, where its length is told. */
static bool is_whole(const char *head)
{
    const char *end = strstr(head, "\r\n\r\n");
    const char *length = strcasestr(head, "\r\ncontent-length:");

    return end && (!length || length > end ||
                   strlen(end + 4) >= strtoul(length + 17, NULL, 10));
}

static bool take_head(struct fileserver *s, char *out)
{
    size_t len = 0;

    while (len < HEAD_MAX - 1) {
        ssize_t n = s->tls ? tls_read(s->tls, out + len, HEAD_MAX - 1 - len)
                           : recv(s->fd, out + len, HEAD_MAX - 1 - len, 0);

        if (n > 0) {
            len += (size_t)n;
            out[len] = 0;
            if (is_whole(out))
                return true;
        } else if (!again(s, n, POLLIN)) {
            return false;
        }
    }
    return false;
}

/* --- an answer --- */

static size_t range_from(const char *head, const struct fileserver_reply *r)
{
    const char *range = strcasestr(head, "\r\nrange: bytes=");
    const char *only = strcasestr(head, "\r\nif-range: ");

    if (!range || r->trick == FILESERVER_NO_RANGE)
        return 0;
    if (only && (!r->etag ||
                 strncmp(strchr(only, ':') + 2, r->etag, strlen(r->etag)) != 0))
        return 0;
    return (size_t)strtoull(strchr(range, '=') + 1, NULL, 10);
}

static void put_chunk(struct fileserver *s, const void *bytes, size_t len)
{
    say(s, "%zx\r\n", len);
    put(s, bytes, len);
    say(s, "\r\n");
}

static void put_body(struct fileserver *s, const struct fileserver_reply *r,
                     const uint8_t *body, size_t len)
{
    size_t turn = r->trick == FILESERVER_DRIP ? r->drip_bytes : 65536;

    do {
        for (size_t at = 0; at < len && !s->is_broken; at += turn) {
            size_t n = len - at < turn ? len - at : turn;

            if (r->trick == FILESERVER_CHUNKED ||
                r->trick == FILESERVER_ENDLESS)
                put_chunk(s, body + at, n);
            else
                put(s, body + at, n);
            if (r->trick == FILESERVER_DRIP)
                poll(NULL, 0, DRIP_MS);
            if (atomic_load(&s->is_over))
                return;
        }
    } while (r->trick == FILESERVER_ENDLESS && !s->is_broken);
    if (r->trick == FILESERVER_CHUNKED && r->drop_at == 0)
        say(s, "0\r\n\r\n");
}

static struct fileserver_reply reply_to(struct fileserver *s, const char *head)
{
    size_t at = (size_t)s->requests;
    struct fileserver_reply made = {0};

    if (!s->decide)
        return s->script[at < s->count ? at : s->count - 1];
    s->decide(s->arg, head, strstr(head, "\r\n\r\n") + 4, &made);
    return made;
}

static void answer(struct fileserver *s, const char *head)
{
    const struct fileserver_reply reply = reply_to(s, head), *r = &reply;
    const uint8_t *body = r->body ? r->body : s->body;
    size_t whole = r->body ? r->len : s->len, end = whole;
    size_t from = range_from(head, r);
    int status = r->status ? r->status : from ? 206 : 200;

    pthread_mutex_lock(&s->lock);
    if (s->requests < FILESERVER_HEADS)
        snprintf(s->heads[s->requests], HEAD_MAX, "%s", head);
    s->requests++;
    pthread_mutex_unlock(&s->lock);
    if (r->trick == FILESERVER_SILENT)
        wait_for(s, POLLIN);
    if (r->trick == FILESERVER_SILENT || r->trick == FILESERVER_HANG_UP)
        return;
    if (from > whole)
        from = whole;
    if (r->drop_at && (size_t)r->drop_at < end)
        end = (size_t)r->drop_at > from ? (size_t)r->drop_at : from;
    say(s, "HTTP/1.1 %d As Told\r\nconnection: close\r\n%s", status,
        r->head ? r->head : "");
    if (r->etag)
        say(s, "etag: %s\r\n", r->etag);
    if (status == 206 && r->range)
        say(s, "content-range: %s\r\n", r->range);
    else if (status == 206)
        say(s, "content-range: bytes %zu-%zu/%zu\r\n", from, whole - 1, whole);
    if (r->trick == FILESERVER_CHUNKED || r->trick == FILESERVER_ENDLESS)
        say(s, "transfer-encoding: chunked\r\n\r\n");
    else
        say(s, "content-length: %lld\r\n\r\n",
            (long long)(r->told ? r->told : (int64_t)(whole - from)));
    put_body(s, r, body + from, end - from);
}

static void serve(struct fileserver *s)
{
    char head[HEAD_MAX];
    int r = 0;

    s->is_broken = false;
    if (s->ctx) {
        s->tls = tls_accept(s->ctx, s->fd);
        while ((r = tls_handshake(s->tls)) != 0 && again(s, r, 0))
            ;
    }
    if (r == 0 && take_head(s, head))
        answer(s, head);
    if (s->tls)
        tls_bye(s->tls);
    tls_free(s->tls);
    s->tls = NULL;
    shutdown(s->fd, SHUT_WR);
    close(s->fd);
}

static void *run(void *arg)
{
    struct fileserver *s = arg;

    while (!atomic_load(&s->is_over)) {
        struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};

        if (poll(&p, 1, WAIT_MS) <= 0)
            continue;
        s->fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (s->fd >= 0)
            serve(s);
    }
    return NULL;
}

/* --- birth and death --- */

static struct ssl_ctx_st *make_ctx(const char *dir)
{
    char *cert = mem_printf("%s/srv.pem", dir);
    char *key = mem_printf("%s/srv.key", dir);
    char *clients = mem_printf("%s/client-ca.pem", dir);
    struct err e = {0};
    struct ssl_ctx_st *ctx = tls_server_ctx(cert, key, &e);

    if (!ctx)
        abort();
    if (access(clients, R_OK) == 0) {
        if (SSL_CTX_load_verify_file(ctx, clients) != 1)
            abort();
        SSL_CTX_set_verify(
            ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    free(cert);
    free(key);
    free(clients);
    return ctx;
}

static void begin(struct fileserver *s, const char *tls_dir)
{
    struct err e = {0};
    char name[64];

    signal(SIGPIPE, SIG_IGN); /* as services do; TLS has no flag for it */
    pthread_mutex_init(&s->lock, NULL);
    s->listen_fd = listen_tcp("127.0.0.1:0", false, &e);
    if (s->listen_fd < 0 || listen_name(s->listen_fd, name, sizeof(name)) < 0)
        abort();
    s->port = atoi(strrchr(name, ':') + 1);
    if (tls_dir)
        s->ctx = make_ctx(tls_dir);
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        abort();
}

struct fileserver *fileserver_start(const void *body, size_t len,
                                    const struct fileserver_reply *script,
                                    size_t count, const char *tls_dir)
{
    struct fileserver *s = mem_zero(1, sizeof(*s));

    s->body = body;
    s->len = len;
    s->script = mem_zero(count, sizeof(*script));
    memcpy(s->script, script, count * sizeof(*script));
    s->count = count;
    begin(s, tls_dir);
    return s;
}

struct fileserver *fileserver_start_with(fileserver_decide decide, void *arg,
                                         const char *tls_dir)
{
    struct fileserver *s = mem_zero(1, sizeof(*s));

    s->decide = decide;
    s->arg = arg;
    begin(s, tls_dir);
    return s;
}

int fileserver_port(const struct fileserver *s)
{
    return s->port;
}

int fileserver_requests(struct fileserver *s)
{
    int n;

    pthread_mutex_lock(&s->lock);
    n = s->requests;
    pthread_mutex_unlock(&s->lock);
    return n;
}

const char *fileserver_head(struct fileserver *s, int i)
{
    return i < FILESERVER_HEADS && i < fileserver_requests(s) ? s->heads[i]
                                                              : "";
}

void fileserver_stop(struct fileserver *s)
{
    if (!s)
        return;
    atomic_store(&s->is_over, true);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    tls_ctx_free(s->ctx);
    pthread_mutex_destroy(&s->lock);
    free(s->script);
    free(s);
}
