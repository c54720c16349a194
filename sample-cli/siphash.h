/*
 * SipHash-2-4: a sum of bytes that nobody can make collide who does not know
 * the key. Pure.
 * source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012
 */
#ifndef PODTERM_SAMPLE_CLI_SIPHASH_H
#define PODTERM_SAMPLE_CLI_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16

uint64_t siphash(const uint8_t key[SIPHASH_KEY_BYTES], const void *bytes,
                 size_t len);

#endif
