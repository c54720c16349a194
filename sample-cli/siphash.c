#include "sample-cli/siphash.h"

struct sip {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* Little-endian; the bytes that are missing are 0. */
static uint64_t word(const uint8_t *p, size_t len)
{
    uint64_t w = 0;

    for (size_t i = 0; i < len; i++)
        w |= (uint64_t)p[i] << (8 * i);
    return w;
}

static void sip_rounds(struct sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->a += s->b;
        s->b = rotate(s->b, 13) ^ s->a;
        s->a = rotate(s->a, 32);
        s->c += s->d;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a += s->d;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c += s->b;
        s->b = rotate(s->b, 17) ^ s->c;
        s->c = rotate(s->c, 32);
    }
}

static void sip_add(struct sip *s, uint64_t m)
{
    s->d ^= m;
    sip_rounds(s, 2);
    s->a ^= m;
}

uint64_t siphash(const uint8_t key[SIPHASH_KEY_BYTES], const void *bytes,
                 size_t len)
{
    const uint64_t k0 = word(key, 8), k1 = word(key + 8, 8);
    const uint8_t *p = bytes;
    struct sip s = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
                    k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
    size_t left = len;

    for (; left >= 8; left -= 8, p += 8)
        sip_add(&s, word(p, 8));
    sip_add(&s, (uint64_t)len << 56 | word(p, left));
    s.c ^= 0xff;
    sip_rounds(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}
