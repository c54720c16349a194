#include "tests/lib/scripted.h"

#include "base/mem.h"
#include "base/own.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUEST_MAX 65536

/* Head, and as much body as it announces. */
static char *scripted_read(int fd)
{
    char *text = mem_zero(REQUEST_MAX, 1);
    size_t len = 0, want = SIZE_MAX;

    while (len < REQUEST_MAX - 1 && len < want) {
        ssize_t n = read(fd, text + len, REQUEST_MAX - 1 - len);
        const char *end, *length;

        if (n <= 0)
            break;
        len += (size_t)n;
        end = strstr(text, "\r\n\r\n");
        if (!end)
            continue;
        length = strcasestr(text, "\r\ncontent-length:");
        want = (size_t)(end + 4 - text) +
               (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    }
    return text;
}

static void scripted_answer(int fd, const char *answer)
{
    const char *body = answer ? strstr(answer, "\r\n\r\n") : NULL;
    own_mem char *text = NULL;

    if (!body)
        return;
    text = mem_printf("HTTP/1.1 %.*s\r\ncontent-length: %zu\r\n"
                      "connection: close\r\n\r\n%s",
                      (int)(body - answer), answer, strlen(body + 4), body + 4);
    if (write(fd, text, strlen(text)) < 0)
        return;
}

static void *scripted_run(void *arg)
{
    struct scripted *s = arg;
    int fd;

    while ((fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        char *request = scripted_read(fd);
        const char *answer;
        int i;

        pthread_mutex_lock(&s->lock);
        i = s->request_count < SCRIPTED_MAX ? s->request_count++
                                            : SCRIPTED_MAX - 1;
        free(s->requests[i]);
        s->requests[i] = request;
        answer = s->answers[i < s->answer_count ? i : s->answer_count - 1];
        pthread_mutex_unlock(&s->lock);
        scripted_answer(fd, answer);
        close(fd);
    }
    return NULL;
}

void scripted_start(struct scripted *s, const char *const *answers, int count)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    memset(s, 0, sizeof(*s));
    s->answer_count = count;
    for (int i = 0; i < count; i++)
        s->answers[i] = answers[i];
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listen_fd >= 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(s->listen_fd, 16), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&sa, &len),
                     0);
    s->port = ntohs(sa.sin_port);
    snprintf(s->base, sizeof(s->base), "http://127.0.0.1:%d", s->port);
    pthread_mutex_init(&s->lock, NULL);
    assert_int_equal(pthread_create(&s->thread, NULL, scripted_run, s), 0);
}

void scripted_stop(struct scripted *s)
{
    shutdown(s->listen_fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    for (int i = 0; i < s->request_count; i++)
        free(s->requests[i]);
    pthread_mutex_destroy(&s->lock);
}

int scripted_count(struct scripted *s)
{
    int n;

    pthread_mutex_lock(&s->lock);
    n = s->request_count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

const char *scripted_header(struct scripted *s, int i, const char *name)
{
    static char value[4096];
    own_mem char *mark = mem_printf("\r\n%s: ", name);
    const char *at;

    value[0] = 0;
    pthread_mutex_lock(&s->lock);
    at = i < s->request_count ? strcasestr(s->requests[i], mark) : NULL;
    if (at) {
        at += strlen(mark);
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r\n"), at);
    }
    pthread_mutex_unlock(&s->lock);
    return value;
}
