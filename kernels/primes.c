/* primes START STOP: prints how many primes are in [START, STOP), 0 <= START <= STOP <= 10^14.
 *
 * A segmented sieve of Eratosthenes on a wheel of 30 (Bays & Hudson 1977; the layout of primesieve's
 * EratSmall): byte i stands for 30i .. 30i+29, its eight bits for the residues prime to 30.
 * - Primes 7 .. 37 are struck out by and-ing three periodic patterns.
 * - Small primes strike out block by block, each as large as a first-level cache, larger ones segment by
 *   segment, as large as a second-level cache.
 * - The multiples p*q with q prime to 30 come in turns of eight, one turn is p bytes: between turns each
 *   strike has a constant mask and a fixed distance, so a turn is eight and-instructions. */
#include "kernel.h"

enum {
    BLOCK = 32 << 10,       /* bytes sieved at once with small primes */
    SEGMENT = 8 * BLOCK,    /* bytes sieved at once with larger ones */
    SMALL = BLOCK / 8,      /* primes below this are small (measured: the rest gains more from long runs) */
    ROOT_MAX = 10000000,    /* square root of the largest STOP */
    PERIOD1 = 7 * 11 * 13,  /* bytes after which each pattern repeats */
    PERIOD2 = 17 * 19 * 23,
    PERIOD3 = 29 * 31 * 37,
};

static const char USAGE[] = "usage: primes START STOP, with 0 <= START <= STOP <= 100000000000000";
static const u8 SMALLEST[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}; /* counted one by one */
static const u8 RESIDUE[8] = {1, 7, 11, 13, 17, 19, 23, 29};
static const u8 GAP[8] = {6, 4, 2, 4, 2, 4, 6, 2}; /* from a residue to the next */

/* The bit that stands for residue r; 0 if r is not prime to 30. */
static inline u8 bit(u32 r) {
    switch (r) {
        case 1: return 1;
        case 7: return 2;
        case 11: return 4;
        case 13: return 8;
        case 17: return 16;
        case 19: return 32;
        case 23: return 64;
        case 29: return 128;
        default: return 0;
    }
}

typedef struct {
    u32 tens;  /* the prime divided by 30 */
    u32 next;  /* byte of the next multiple, counted from the start of the coming block or segment */
    u8 class;  /* index of the prime's residue */
    u8 turn;   /* index of the cofactor's residue: which of the eight strikes comes next */
} prime_t;

static u8 sieve[SEGMENT + 8];
static u8 pattern1[PERIOD1 + BLOCK + 8], pattern2[PERIOD2 + BLOCK + 8], pattern3[PERIOD3 + BLOCK + 8];
static u8 step_mask[8][8], step_carry[8][8];

static void make_steps(void) {
    for (u32 c = 0; c < 8; c++)
        for (u32 t = 0; t < 8; t++) {
            u32 rest = RESIDUE[c] * RESIDUE[t] % 30;
            step_mask[c][t] = (u8)~bit(rest);
            step_carry[c][t] = (u8)((rest + RESIDUE[c] * GAP[t]) / 30);
        }
}

/* Whole turns of a prime with residue r (a constant after inlining), while they fit below `length`. */
static inline __attribute__((always_inline)) u32 whole_turns(u8 *s, u32 i, u32 length, u32 tens, const u32 r) {
    const u32 o1 = tens * 6 + r * 7 / 30, o2 = tens * 10 + r * 11 / 30, o3 = tens * 12 + r * 13 / 30,
              o4 = tens * 16 + r * 17 / 30, o5 = tens * 18 + r * 19 / 30, o6 = tens * 22 + r * 23 / 30,
              o7 = tens * 28 + r * 29 / 30, turn = tens * 30 + r;
    if (length <= o7) return i;
    for (const u32 last = length - o7; i < last; i += turn) {
        u8 *at = s + i;
        at[0] &= (u8)~bit(r % 30);
        at[o1] &= (u8)~bit(r * 7 % 30);
        at[o2] &= (u8)~bit(r * 11 % 30);
        at[o3] &= (u8)~bit(r * 13 % 30);
        at[o4] &= (u8)~bit(r * 17 % 30);
        at[o5] &= (u8)~bit(r * 19 % 30);
        at[o6] &= (u8)~bit(r * 23 % 30);
        at[o7] &= (u8)~bit(r * 29 % 30);
    }
    return i;
}

static inline u32 fast(u8 *s, u32 i, u32 length, u32 tens, u32 class) {
    switch (class) {
        case 0: return whole_turns(s, i, length, tens, 1);
        case 1: return whole_turns(s, i, length, tens, 7);
        case 2: return whole_turns(s, i, length, tens, 11);
        case 3: return whole_turns(s, i, length, tens, 13);
        case 4: return whole_turns(s, i, length, tens, 17);
        case 5: return whole_turns(s, i, length, tens, 19);
        case 6: return whole_turns(s, i, length, tens, 23);
        default: return whole_turns(s, i, length, tens, 29);
    }
}

/* Strikes out the multiples of primes [from, to) in `length` bytes. */
static void strike(prime_t *from, const prime_t *to, u8 *s, u32 length) {
    for (prime_t *p = from; p < to; p++) {
        u32 i = p->next, t = p->turn;
        const u32 tens = p->tens;
        const u8 *mask = step_mask[p->class], *carry = step_carry[p->class];
        for (; t != 0 && i < length; t = (t + 1) & 7) {
            s[i] &= mask[t];
            i += tens * GAP[t] + carry[t];
        }
        if (i < length) i = fast(s, i, length, tens, p->class);
        for (; i < length; t = (t + 1) & 7) {
            s[i] &= mask[t];
            i += tens * GAP[t] + carry[t];
        }
        p->next = i - length;
        p->turn = (u8)t;
    }
}

/* A pattern of bits in which the multiples of three primes are struck out. */
static void make_pattern(u8 *pattern, u32 period, const u8 *three) {
    memset(pattern, 0xff, period);
    for (u32 k = 0; k < 3; k++)
        for (u32 m = three[k]; m < period * 30; m += three[k]) pattern[m / 30] &= (u8)~bit(m % 30);
    for (u32 i = 0; i < BLOCK + 8; i++) pattern[period + i] = pattern[i];
}

/* Fills a block that begins at byte number `at` with the three patterns. */
static void fill(u8 *s, u64 at, u32 length) {
    const u8 *a = pattern1 + at % PERIOD1, *b = pattern2 + at % PERIOD2, *c = pattern3 + at % PERIOD3;
    for (u32 i = 0; i < length; i += 8) {
        u64 x, y, z;
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        memcpy(&z, c + i, 8);
        x &= y & z;
        memcpy(s + i, &x, 8);
    }
}

static u64 count_bits(u32 length) {
    u64 count = 0, word;
    memset(sieve + length, 0, 8);
    for (u32 i = 0; i < length; i += 8) {
        memcpy(&word, sieve + i, 8);
        count += (u64)__builtin_popcountll(word);
    }
    return count;
}

/* Clears the bits of byte 0 for numbers below `start`, or of the last byte for numbers from `stop` on. */
static void trim(u8 *byte, u64 base, u64 start, u64 stop) {
    for (u32 k = 0; k < 8; k++) {
        u64 n = base + RESIDUE[k];
        if (n < start || n >= stop || n == 1) *byte &= (u8)~(1u << k);
    }
}

static u32 root(u64 n) { /* the largest r with r*r < n, for n <= 10^14 */
    u32 low = 0, high = ROOT_MAX;
    while (low < high) {
        u32 middle = low + (high - low + 1) / 2;
        if ((u64)middle * middle < n) low = middle; else high = middle - 1;
    }
    return low;
}

/* The primes 41 .. limit, by a plain sieve over odd numbers. */
static u32 base_primes(u32 limit, prime_t **out) {
    u32 half = limit / 2 + 1, found = 0;
    u8 *composite = calloc(half, 1);
    prime_t *primes = malloc(sizeof(prime_t) * (half / 3 + 16));
    if (!composite || !primes) fail("primes: out of memory");
    for (u32 i = 1; i < half; i++) {
        if (composite[i]) continue;
        u32 p = 2 * i + 1;
        if ((u64)p * p <= limit)
            for (u32 m = p * p / 2; m < half; m += p) composite[m] = 1;
        if (p < 41 || p > limit) continue;
        u8 class = 0;
        while (RESIDUE[class] != p % 30) class++;
        primes[found++] = (prime_t){p / 30, 0, class, 0};
    }
    free(composite);
    *out = primes;
    return found;
}

/* Aims a prime at its first multiple from byte number `low` on, and from its own square on. */
static void aim(prime_t *p, u64 low) {
    u64 prime = (u64)p->tens * 30 + RESIDUE[p->class];
    u64 q = (low * 30 + prime - 1) / prime;
    if (q < prime) q = prime;
    u64 tens = q / 30, rest = q % 30;
    u8 t = 0;
    while (RESIDUE[t] < rest) t++; /* rest is at most 29 */
    p->turn = t;
    p->next = (u32)(prime * (tens * 30 + RESIDUE[t]) / 30 - low);
}

static u64 count_primes(u64 start, u64 stop) {
    u64 count = 0;
    for (u32 i = 0; i < sizeof SMALLEST; i++) count += SMALLEST[i] >= start && SMALLEST[i] < stop;
    if (stop <= 41) return count;

    prime_t *primes;
    u32 found = base_primes(root(stop), &primes), aimed = 0, small = 0;
    while (small < found && primes[small].tens < SMALL / 30) small++;
    make_steps();
    make_pattern(pattern1, PERIOD1, (const u8[]){7, 11, 13});
    make_pattern(pattern2, PERIOD2, (const u8[]){17, 19, 23});
    make_pattern(pattern3, PERIOD3, (const u8[]){29, 31, 37});

    for (u64 low = start / 30, end = (stop + 29) / 30; low < end; low += SEGMENT) {
        u32 length = end - low < SEGMENT ? (u32)(end - low) : SEGMENT;
        for (; aimed < found; aimed++) {
            u64 prime = (u64)primes[aimed].tens * 30 + RESIDUE[primes[aimed].class];
            if (prime * prime >= (low + length) * 30) break;
            aim(primes + aimed, low);
        }
        u32 cut = aimed < small ? aimed : small;
        for (u32 at = 0; at < length; at += BLOCK) {
            u32 size = length - at < BLOCK ? length - at : BLOCK;
            fill(sieve + at, low + at, size);
            strike(primes, primes + cut, sieve + at, size);
        }
        strike(primes + cut, primes + aimed, sieve, length);
        trim(sieve, low * 30, start, stop);
        trim(sieve + length - 1, (low + length - 1) * 30, start, stop);
        count += count_bits(length);
    }
    free(primes);
    return count;
}

int main(int argc, char **argv) {
    range_t r = range(argc, argv, 3, (u64)ROOT_MAX * ROOT_MAX, USAGE);
    put_u64(r.start < r.stop ? count_primes(r.start, r.stop) : 0, '\n');
    return 0;
}
