/* What every kernel needs: strict decimal arguments, decimal output, one clear sentence on failure.
 *
 * A kernel is a command: a range job appends two decimal arguments START STOP (half-open) to its argv;
 * the result is stdout. There is no printf in here: it alone would be most of the module.
 * Plain C with only read() and write(), so that `cc -O3 -o primes primes.c` makes the same program natively. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

static inline void put_bytes(int file, const char *data, size_t count) {
    while (count > 0) {
        ssize_t wrote = write(file, data, count);
        if (wrote <= 0) exit(74);
        data += wrote;
        count -= (size_t)wrote;
    }
}

static inline void put_text(int file, const char *text) { put_bytes(file, text, strlen(text)); }

/* Ends the program: one sentence on stderr, exit code 2. */
_Noreturn static inline void fail(const char *sentence) {
    put_text(2, sentence);
    put_text(2, "\n");
    exit(2);
}

/* Writes `value` in decimal and then the character `end`. */
static inline void put_u64(u64 value, char end) {
    char text[24];
    char *at = text + sizeof text;
    *--at = end;
    do *--at = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    put_bytes(1, at, (size_t)(text + sizeof text - at));
}

/* Reads a decimal number, digits only; `usage` is the sentence to fail with. */
static inline u64 number(const char *text, const char *usage) {
    u64 value = 0;
    if (*text == 0) fail(usage);
    for (; *text; text++) {
        u64 digit = (u64)(*text - '0');
        if (*text < '0' || *text > '9' || value > (UINT64_MAX - digit) / 10) fail(usage);
        value = value * 10 + digit;
    }
    return value;
}

typedef struct {
    u64 start, stop;
} range_t;

/* The range in the last two of exactly `argc` = `expected` arguments, within 0 <= START <= STOP <= most. */
static inline range_t range(int argc, char **argv, int expected, u64 most, const char *usage) {
    if (argc != expected) fail(usage);
    range_t r = {number(argv[argc - 2], usage), number(argv[argc - 1], usage)};
    if (r.start > r.stop || r.stop > most) fail(usage);
    return r;
}

#endif
