/* collatz START STOP: prints the number of steps of the longest Collatz chain that begins in [START, STOP).
 * collatz where START STOP: prints that number and the (lowest) start of the chain, with a space between.
 * 1 <= START < STOP <= 10^10.
 *
 * A step is n/2 or 3n+1; chains end at 1. The first form is what a range job combines with `maximum`.
 * No chain that begins below 10^10 exceeds 1.9 * 10^19 < 2^64: the record, 18144594937356598024, belongs to
 * 8528817511 (Oliveira e Silva's path records), so 64 bits without overflow checks are right. */
#include "kernel.h"

static const char USAGE[] = "usage: collatz [where] START STOP, with 1 <= START < STOP <= 10000000000";

static inline u32 steps_of(u64 n) {
    u32 steps = (u32)__builtin_ctzll(n);
    n >>= steps;
    while (n != 1) {
        n = 3 * n + 1;
        u32 halvings = (u32)__builtin_ctzll(n);
        n >>= halvings;
        steps += halvings + 1;
    }
    return steps;
}

int main(int argc, char **argv) {
    int where = argc == 4 && strcmp(argv[1], "where") == 0;
    range_t r = range(argc, argv, 3 + where, 10000000000ull, USAGE);
    if (r.start < 1 || r.start == r.stop) fail(USAGE);
    u32 longest = 0;
    u64 start = r.start;
    for (u64 n = r.start; n < r.stop; n++) {
        u32 steps = steps_of(n);
        if (steps > longest) longest = steps, start = n;
    }
    put_u64(longest, where ? ' ' : '\n');
    if (where) put_u64(start, '\n');
    return 0;
}
