/* montecarlo SEED START STOP: prints how many of the samples START .. STOP-1 of the unit square fall inside the
 * quarter circle; pi is about 4 times the sum of all hits, divided by the number of samples. STOP <= 2^62.
 *
 * Sample i is a function of SEED and i alone (SplitMix64 used as a counter-based generator, Steele, Lea &
 * Flood 2014), so the answer does not depend on how the samples are split. All in integers: x and y have 31
 * bits, and x*x + y*y is exact, so it is the same on every machine. */
#include "kernel.h"

static const char USAGE[] =
    "usage: montecarlo SEED START STOP, with 0 <= START <= STOP <= 4611686018427387904 and 0 <= SEED < 2^64";

static const u64 GOLDEN = 0x9e3779b97f4a7c15;

static inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

int main(int argc, char **argv) {
    range_t r = range(argc, argv, 4, 1ull << 62, USAGE);
    const u64 key = mix(number(argv[1], USAGE) + GOLDEN);
    u64 hits = 0;
    for (u64 i = r.start; i < r.stop; i++) {
        u64 random = mix(key + i * GOLDEN);
        u64 x = random >> 33, y = random & 0x7fffffff;
        hits += x * x + y * y < 1ull << 62;
    }
    put_u64(hits, '\n');
    return 0;
}
