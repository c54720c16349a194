/* What a row can do without a store. */
#include "base/store.h"

#include <stdio.h>
#include <string.h>

void store_stage_add(struct store_session *row, const char *stage,
                     const char *state, const char *detail, int64_t now_ms)
{
    struct store_stage *at = NULL;

    for (int i = 0; i < row->stage_count && !at; i++)
        if (strcmp(row->stages[i].stage, stage) == 0 &&
            strcmp(row->stages[i].state, "done") != 0)
            at = &row->stages[i];
    if (!at) {
        if (row->stage_count < STORE_STAGES_MAX)
            row->stage_count++;
        at = &row->stages[row->stage_count - 1];
    }
    snprintf(at->stage, sizeof(at->stage), "%s", stage);
    snprintf(at->state, sizeof(at->state), "%s", state);
    snprintf(at->detail, sizeof(at->detail), "%s", detail ? detail : "");
    at->ms = now_ms - row->created_ms;
}
