#include "base/layer.h"

#include <string.h>

static const struct {
    enum cage_layer layer;
    const char *word;
} words[] = {
    {LAYER_NAMESPACES, "namespaces"}, {LAYER_CALLS, "calls"},
    {LAYER_FILES, "files"},           {LAYER_PORTS, "ports"},
    {LAYER_SCOPES, "scopes"},
};
#define WORDS (sizeof(words) / sizeof(words[0]))

void layer_to_json(struct json *j, const char *name, unsigned layers)
{
    struct json *list = json_set(j, name, json_array());

    for (size_t i = 0; i < WORDS; i++)
        if (layers & words[i].layer)
            json_set_str(list, NULL, words[i].word);
}

static int layer_of(const char *word)
{
    for (size_t i = 0; i < WORDS; i++)
        if (word && strcmp(words[i].word, word) == 0)
            return words[i].layer;
    return -1;
}

int layer_of_json(const struct json *list)
{
    int all = 0;

    if (!json_is_array(list))
        return -1;
    for (size_t i = 0; i < json_count(list); i++) {
        int one = layer_of(json_str(json_at(list, i)));

        if (one < 0)
            return -1;
        all |= one;
    }
    return all;
}
