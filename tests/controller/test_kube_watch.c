/*
 * Following a collection: pages and events in whatever pieces they come, from
 * where we were after each end, from the start when that is forgotten; and
 * nothing that is no event is taken for one.
 */
#include "base/loop.h"
#include "base/mem.h"
#include "base/own.h"
#include "tests/lib/kubed.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOON_MS 10000
#define OBJECT(name, version)                                                  \
    "{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" version "\"" \
    "}}"
#define LIST(version, more, items)                                             \
    "{\"items\":[" items "],\"metadata\":{\"resourceVersion\":\"" version      \
    "\"" more "}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define GONE                                                                   \
    EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"message\":\"old\"}")
#define PODS "/api/v1/namespaces/ns/pods?labelSelector=a%3Db"
#define WATCH(version)                                                         \
    "GET " PODS "&watch=1&allowWatchBookmarks=true&timeoutSeconds=300"         \
    "&resourceVersion=" version " HTTP/1.1"
#define LISTS "GET " PODS "&limit=20 HTTP/1.1"

static struct kubed kubed;
static struct kube_watch *watch;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char told[512]; /* "L:a L:b ALL C:c G:a ", in order */

static void event(void *arg, enum kube_event what, const struct json *object)
{
    static const char *const words[] = {"L:", "C:", "G:", "ALL"};
    const char *name = json_get_str(json_get(object, "metadata"), "name");
    size_t len;

    (void)arg;
    pthread_mutex_lock(&lock);
    len = strlen(told);
    snprintf(told + len, sizeof told - len, "%s%s ", words[what],
             name ? name : "");
    pthread_mutex_unlock(&lock);
}

static void start(const struct fileserver_reply *script, size_t count)
{
    told[0] = '\0';
    kubed_start(&kubed, script, count);
    watch = kube_watch_start(kubed.kube, PODS, event, NULL);
}

static int teardown(void **arg)
{
    (void)arg;
    kube_watch_stop(watch);
    watch = NULL;
    kubed_stop(&kubed);
    return 0;
}

static void expect(const char *all)
{
    int64_t until = loop_now_ms() + SOON_MS;
    bool is_so = false;

    while (!is_so && loop_now_ms() < until) {
        pthread_mutex_lock(&lock);
        is_so = strcmp(told, all) == 0;
        pthread_mutex_unlock(&lock);
        poll(NULL, 0, 5);
    }
    if (!is_so)
        fail_msg("not \"%s\" but \"%s\"", all, told);
}

static void expect_asked(int i, const char *line)
{
    int64_t until = loop_now_ms() + SOON_MS;

    while (fileserver_requests(kubed.server) <= i && loop_now_ms() < until)
        poll(NULL, 0, 5);
    assert_true(fileserver_requests(kubed.server) > i);
    assert_string_equal(kubed_asked(&kubed, i), line);
}

static const struct fileserver_reply silent = {.trick = FILESERVER_SILENT};

static void pages_are_listed_and_events_follow(void **arg)
{
    const struct fileserver_reply script[] = {
        kubed_says(LIST("9", ",\"continue\":\"n-2_\"", OBJECT("a", "1"))),
        kubed_says(LIST("10", "", OBJECT("b", "2"))),
        kubed_says(EVENT("ADDED", OBJECT("c", "11")) EVENT(
            "MODIFIED", OBJECT("a", "12")) EVENT("DELETED", OBJECT("b", "13"))
                       EVENT("BOOKMARK", OBJECT("", "20"))),
        silent};

    (void)arg;
    start(script, 4);
    expect("L:a L:b ALL C:c C:a G:b ");
    expect_asked(0, LISTS);
    expect_asked(1, "GET " PODS "&limit=20&continue=n-2_ HTTP/1.1");
    expect_asked(2, WATCH("10"));
    expect_asked(3, WATCH("20")); /* the end of a watch is no loss */
}

static void events_come_in_any_pieces(void **arg)
{
    struct fileserver_reply script[] = {
        kubed_says(LIST("1", "", "")),
        kubed_says("\n" EVENT("ADDED", OBJECT("a", "2"))
                       EVENT("ADDED", OBJECT("b", "3"))),
        silent};

    (void)arg;
    script[1].trick = FILESERVER_DRIP;
    script[1].drip_bytes = 17;
    start(script, 3);
    expect("ALL C:a C:b ");
    expect_asked(2, WATCH("3"));
}

static void a_version_that_is_forgotten_means_a_new_list(void **arg)
{
    const struct fileserver_reply script[] = {
        kubed_says(LIST("1", "", OBJECT("a", "1"))),
        kubed_says(EVENT("ADDED", OBJECT("b", "2")) GONE),
        kubed_says(LIST("7", "", OBJECT("c", "6"))),
        kubed_refuses(410, "{\"kind\":\"Status\",\"code\":410}"),
        kubed_says(LIST("8", "", "")),
        silent};

    (void)arg;
    start(script, 6);
    expect("L:a ALL C:b L:c ALL ALL ");
    expect_asked(1, WATCH("1"));
    expect_asked(2, LISTS);
    expect_asked(3, WATCH("7"));
    expect_asked(4, LISTS);
    expect_asked(5, WATCH("8"));
}

static void a_connection_cut_in_an_event_goes_on_before_it(void **arg)
{
    struct fileserver_reply script[] = {
        kubed_says(LIST("1", "", "")),
        kubed_says(EVENT("ADDED", OBJECT("a", "2"))
                       EVENT("ADDED", OBJECT("b", "3"))),
        kubed_says(EVENT("ADDED", OBJECT("b", "3"))), silent};

    (void)arg;
    script[1].drop_at = sizeof(EVENT("ADDED", OBJECT("a", "2"))) + 20;
    start(script, 4);
    expect("ALL C:a C:b ");
    expect_asked(2, WATCH("2"));
}

static void what_is_no_event_is_told_to_nobody(void **arg)
{
    static const char *const bad[] = {
        "{\"type\":\n",
        "[]\n",
        "{\"type\":\"ADDED\"}\n",
        EVENT("ADDED", "7"),
        EVENT("ADDED", "{}"),
        EVENT("ADDED", OBJECT("x", "")),
        EVENT("ADDED", OBJECT("x", "1&y=2")), /* it would be in an address */
        EVENT("ERROR", "{\"code\":500}"),
    };

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct fileserver_reply script[] = {
            kubed_says(LIST("1", "", "")), kubed_says(bad[i]),
            kubed_says(LIST("2", "", "")), silent};

        start(script, 4);
        expect("ALL ALL ");
        expect_asked(2, LISTS); /* what was missed is not known */
        teardown(arg);
    }
    start(&silent, 1);
}

static void what_is_no_list_is_asked_for_again(void **arg)
{
    static const char *const bad[] = {"{",
                                      "{}",
                                      "{\"items\":[]}",
                                      LIST("", "", ""),
                                      LIST("1 2", "", ""),
                                      LIST("1", ",\"continue\":\"a b\"", "")};

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct fileserver_reply script[] = {
            kubed_says(bad[i]), kubed_says(LIST("1", "", "")), silent};

        start(script, 3);
        expect("ALL ");
        expect_asked(1, LISTS);
        teardown(arg);
    }
    start(&silent, 1);
}

/* A server that ends each watch as it begins is not asked without a pause. */
static void paces(const char *watch_says, int status, const char *head,
                  int64_t at_least_ms)
{
    struct fileserver_reply script[8];
    int64_t begun;

    for (int i = 0; i < 8; i += 2) {
        script[i] = kubed_says(LIST("1", "", ""));
        script[i + 1] = kubed_says(watch_says);
        script[i + 1].status = status;
        script[i + 1].head = head;
    }
    begun = loop_now_ms();
    start(script, 8);
    while (fileserver_requests(kubed.server) < 5 &&
           loop_now_ms() - begun < SOON_MS)
        poll(NULL, 0, 5);
    assert_in_range(loop_now_ms() - begun, at_least_ms, SOON_MS - 1);
}

static void
a_server_that_ends_each_at_once_is_asked_ever_more_seldom(void **arg)
{
    paces(GONE, 0, NULL, 1500); /* two pauses: 500, 1000 */
    teardown(arg);
    paces("{}", 410, NULL, 1500);
    teardown(arg);
    paces("{}", 429, "Retry-After: 2\r\n", 4000);
}

static void stops_soon(void **arg)
{
    int64_t begun = loop_now_ms();

    kube_watch_stop(watch);
    watch = NULL;
    assert_true(loop_now_ms() - begun < 4000);
    teardown(arg);
}

static void stopping_ends_it_wherever_it_is(void **arg)
{
    const struct fileserver_reply watching[] = {kubed_says(LIST("1", "", "")),
                                                silent};
    const struct fileserver_reply waiting[] = {kubed_says(LIST("1", "", "")),
                                               kubed_refuses(500, NULL),
                                               kubed_says("{}"), silent};

    (void)arg;
    for (int i = 0; i < 2; i++) {
        if (i)
            start(waiting, 4);
        else
            start(watching, 2);
        expect("ALL ");
        expect_asked(1, WATCH("1"));
        poll(NULL, 0, 100);
        stops_soon(arg);
    }
    start(&silent, 1); /* a list */
    expect_asked(0, LISTS);
    stops_soon(arg);
    start(&silent, 1);
}

#define T(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(pages_are_listed_and_events_follow),
        T(events_come_in_any_pieces),
        T(a_version_that_is_forgotten_means_a_new_list),
        T(a_connection_cut_in_an_event_goes_on_before_it),
        T(what_is_no_event_is_told_to_nobody),
        T(what_is_no_list_is_asked_for_again),
        T(a_server_that_ends_each_at_once_is_asked_ever_more_seldom),
        T(stopping_ends_it_wherever_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
