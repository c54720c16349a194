/*
 * What a session may ask of its APIs: so many requests and bytes in all, and
 * so many requests within any minute. Pure; time is passed in.
 */
#ifndef PODTERM_AGENT_BROKER_BUDGET_H
#define PODTERM_AGENT_BROKER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BROKER_REQUESTS_MAX 1000000000      /* of the setting */
#define BROKER_BYTES_MAX (INT64_C(1) << 46) /* of the setting */
#define BROKER_PER_MINUTE_MAX 10000         /* of the setting */
#define BROKER_MINUTE_MS 60000

struct broker_budget {
    int64_t requests_max, bytes_max, per_minute;
    int64_t requests, bytes; /* spent */
    int64_t *times;          /* private: of the last per_minute requests, 0 =
                                none yet; owned */
    int64_t next;
};

enum broker_spending {
    BROKER_SPENT,          /* one request more */
    BROKER_NO_REQUESTS,    /* they are used up */
    BROKER_NO_BYTES,       /* so are these */
    BROKER_NOT_THIS_MINUTE /* later */
};

void broker_budget_init(struct broker_budget *b, int64_t requests_max,
                        int64_t bytes_max, int64_t per_minute);
void broker_budget_fini(struct broker_budget *b);
/* May another be asked now? *after_ms: BROKER_NOT_THIS_MINUTE: when. */
enum broker_spending broker_budget_take(struct broker_budget *b, int64_t now_ms,
                                        int64_t *after_ms);
/* Bytes have passed; false: that was too much. */
bool broker_budget_bytes(struct broker_budget *b, int64_t bytes);

#endif
