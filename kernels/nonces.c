/* nonces HEADER START STOP: prints the first nonce in [START, STOP) that makes HEADER a valid Bitcoin block
 * header, in decimal, or nothing at all. 0 <= START <= STOP <= 2^32.
 *
 * HEADER is 160 hex digits, its own nonce (the last 8) is ignored. A header is valid if its double SHA-256
 * (FIPS 180-4), read as a little-endian number, is at most the target its nBits field encodes.
 * - The first 64 bytes do not hold the nonce: they are hashed once (midstate), and so are the first three
 *   rounds of the second block.
 * - Four nonces are tried at once, in the lanes of a vector (WASM SIMD; SSE2 or NEON natively).
 * - The number's highest word is the last word of the hash, known after 61 of 64 rounds: nearly all
 *   nonces are dropped there. The few that are not are hashed again in full. */
#include "kernel.h"

static const char USAGE[] =
    "usage: nonces HEADER START STOP, with HEADER of 160 hex digits and 0 <= START <= STOP <= 4294967296";

typedef u32 lanes __attribute__((vector_size(16)));

static const u32 K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const u32 INITIAL[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* One round and one step of the message schedule, for a single word and for four lanes alike. Rounds come in
 * runs of sixteen from `base` on, so that which variable and which word is used is known when compiling. */
#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define ROUND(s, i, k, w)                                                                             \
    do {                                                                                            \
        enum { a = (64 - (i)) & 7, b = (a + 1) & 7, c = (a + 2) & 7, d = (a + 3) & 7 };             \
        enum { e = (a + 4) & 7, f = (a + 5) & 7, g = (a + 6) & 7, h = (a + 7) & 7 };                \
        s[h] += (ROTATE(s[e], 6) ^ ROTATE(s[e], 11) ^ ROTATE(s[e], 25)) +                           \
                (s[g] ^ (s[e] & (s[f] ^ s[g]))) + (k) + (w);                                       \
        s[d] += s[h];                                                                               \
        s[h] += (ROTATE(s[a], 2) ^ ROTATE(s[a], 13) ^ ROTATE(s[a], 22)) +                           \
                ((s[a] & s[b]) | (s[c] & (s[a] | s[b])));                                           \
    } while (0)
#define SIGMA0(x) (ROTATE(x, 7) ^ ROTATE(x, 18) ^ ((x) >> 3))
#define SIGMA1(x) (ROTATE(x, 17) ^ ROTATE(x, 19) ^ ((x) >> 10))
#define EXPAND(w, i) \
    (w[(i) & 15] += SIGMA1(w[((i) - 2) & 15]) + w[((i) - 7) & 15] + SIGMA0(w[((i) - 15) & 15]))

#define GIVEN(i) ROUND(s, i, K[i], w[i]);
#define MADE(i) ROUND(s, i, K[base + (i)], EXPAND(w, i));
#define FOUR(m, i) m(i) m((i) + 1) m((i) + 2) m((i) + 3)
#define SIXTEEN(m, i) FOUR(m, i) FOUR(m, (i) + 4) FOUR(m, (i) + 8) FOUR(m, (i) + 12)

/* The compression function on one block; `w` is used up. */
static void compress(u32 *state, u32 *w) {
    u32 s[8];
    memcpy(s, state, sizeof s);
    SIXTEEN(GIVEN, 0)
    for (u32 base = 16; base < 64; base += 16) { SIXTEEN(MADE, 0) }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

typedef struct {
    u32 midstate[8]; /* after the first block */
    u32 ahead[8];    /* working variables after three more rounds */
    u32 tail[3];     /* the three words of the second block before the nonce */
    u8 target[32];   /* little endian, like the hash it is compared with */
    u32 target_high;
} work_t;

/* The last word of the double hash, byte by byte as hashed, of four nonces. */
static inline lanes last_words(const work_t *work, lanes nonces) {
    lanes s[8], w[16] = {0};
    for (int i = 0; i < 8; i++) s[i] = (lanes){0} + work->ahead[i];
    for (int i = 0; i < 3; i++) w[i] += work->tail[i];
    w[3] = nonces;
    w[4] += 0x80000000u;
    w[15] += 640u; /* bits in a header */
    GIVEN(3) FOUR(GIVEN, 4) FOUR(GIVEN, 8) FOUR(GIVEN, 12)
    u32 base = 16;
    for (; base < 64; base += 16) { SIXTEEN(MADE, 0) }

    for (int i = 0; i < 8; i++) {
        w[i] = s[i] + work->midstate[i];
        w[i + 8] = (lanes){0};
        s[i] = (lanes){0} + INITIAL[i];
    }
    w[8] += 0x80000000u;
    w[15] += 256u; /* bits in a hash */
    SIXTEEN(GIVEN, 0)
    for (base = 16; base < 48; base += 16) { SIXTEEN(MADE, 0) }
    FOUR(MADE, 0) FOUR(MADE, 4) FOUR(MADE, 8)
    /* Of round 60 only the new e counts: three rounds later it is h. */
    MADE(12)
    return s[(3 - 60) & 7] + INITIAL[7];
}

static void double_hash(const work_t *work, u32 nonce, u8 *hash) {
    u32 first[8], second[8], w[16] = {work->tail[0], work->tail[1], work->tail[2], nonce, 0x80000000u};
    w[15] = 640;
    memcpy(first, work->midstate, sizeof first);
    compress(first, w);
    u32 v[16] = {0};
    memcpy(v, first, sizeof first);
    v[8] = 0x80000000u;
    v[15] = 256;
    memcpy(second, INITIAL, sizeof second);
    compress(second, v);
    for (int i = 0; i < 32; i++) hash[i] = (u8)(second[i / 4] >> (24 - i % 4 * 8));
}

static int within(const u8 *hash, const u8 *target) {
    for (int i = 31; i >= 0; i--)
        if (hash[i] != target[i]) return hash[i] < target[i];
    return 1;
}

static u32 hex_digit(char c) {
    if (c >= '0' && c <= '9') return (u32)(c - '0');
    if (c >= 'a' && c <= 'f') return (u32)(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return (u32)(c - 'A' + 10);
    fail(USAGE);
}

static void set_target(work_t *work, u32 bits) {
    u32 size = bits >> 24, digits = bits & 0xffffff;
    for (u32 i = 0; i < 3; i++, digits >>= 8) {
        if (!(digits & 0xff)) continue;
        if (size + i < 3) continue;
        if (size + i - 3 >= 32) fail("nonces: the header's nBits field encodes a target over 256 bits");
        work->target[size + i - 3] = (u8)digits;
    }
    if ((bits & 0x800000) || !(bits & 0x7fffff)) fail("nonces: the header's nBits field encodes no positive target");
    memcpy(&work->target_high, work->target + 28, 4);
}

static void prepare(work_t *work, const char *header) {
    u32 w[20] = {0};
    if (strlen(header) != 160) fail(USAGE);
    for (int i = 0; i < 160; i++) w[i / 8] = w[i / 8] << 4 | hex_digit(header[i]);
    memcpy(work->tail, w + 16, sizeof work->tail);
    memcpy(work->midstate, INITIAL, sizeof work->midstate);
    set_target(work, __builtin_bswap32(w[18]));
    compress(work->midstate, w);
    u32 *s = work->ahead;
    memcpy(s, work->midstate, sizeof work->ahead);
    ROUND(s, 0, K[0], w[16 + 0]);
    ROUND(s, 1, K[1], w[16 + 1]);
    ROUND(s, 2, K[2], w[16 + 2]);
}

/* Prints the nonce if it wins. */
static int try_one(const work_t *work, u32 nonce) {
    u8 hash[32];
    double_hash(work, __builtin_bswap32(nonce), hash);
    if (!within(hash, work->target)) return 0;
    put_u64(nonce, '\n');
    return 1;
}

int main(int argc, char **argv) {
    range_t r = range(argc, argv, 4, 1ull << 32, USAGE);
    work_t work = {0};
    prepare(&work, argv[1]);
    for (u64 first = r.start; first < r.stop; first += 4) {
        lanes nonces;
        for (u32 k = 0; k < 4; k++) nonces[k] = __builtin_bswap32((u32)first + k);
        lanes last = last_words(&work, nonces);
        for (u32 k = 0; k < 4; k++)
            if (__builtin_bswap32(last[k]) <= work.target_high && first + k < r.stop && try_one(&work, (u32)first + k))
                return 0;
    }
    return 0;
}
