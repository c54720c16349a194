/* Between settings.c and settings_kube.c (what --launcher kubernetes needs). */
#ifndef PODTERM_CONTROLLER_SETTINGS_INTERNAL_H
#define PODTERM_CONTROLLER_SETTINGS_INTERNAL_H

#include "controller/settings.h"

/* One of the two words. 0, or -1 ERR_INPUT that names the flag. */
int settings_check_choice(const char *flag, const char *value, const char *one,
                          const char *other, struct err *e);
/* Each of a comma list (NULL = none) as check says. */
int settings_check_list(const char *flag, const char *list,
                        int (*check)(const char *one, struct err *e),
                        struct err *e);
/* And fills in what follows from it. */
int settings_check_kube(struct settings *s, struct err *e);
/* --egress and --program-*. */
int settings_check_network(const struct settings *s, struct err *e);
/* --broker and --broker-*; fills in apis. */
int settings_check_broker(struct settings *s, struct err *e);
/* Member `broker` of `network`, where there is to be one. */
void settings_broker_to_spec(const struct settings *s, const char *isolation,
                             struct json *network);
/* Member `network` of a session's spec. */
void settings_network_to_spec(const struct settings *s, const char *isolation,
                              struct json *spec);

#endif
