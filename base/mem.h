/*
 * Memory that is there or the process is not: sizes meet their named limit
 * before they come here, and past that running out aborts (the platform
 * starts us again). Zeroed, never NULL, freed with free().
 */
#ifndef PODTERM_BASE_MEM_H
#define PODTERM_BASE_MEM_H

#include <stddef.h>

void *mem_zero(size_t count, size_t size);
/* Grow or shrink; new bytes are not zeroed. */
void *mem_resize(void *old, size_t count, size_t size);
char *mem_str(const char *text);
char *mem_strn(const char *text, size_t len);
void *mem_copy(const void *bytes, size_t len);
/* printf into fresh memory. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
