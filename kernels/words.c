/* words LENGTH: a comparator. On stdin are two answers, the first of LENGTH bytes; exit code 0 when they have the same words
 * in the same order, however many blanks and line ends are between them, else 1. */
#include "kernel.h"

static const char *usage = "usage: words LENGTH < two answers, the first of LENGTH bytes";

/* The next word at or after *at; its length, 0 at the end. */
static size_t word(const u8 **at, const u8 *end) {
    while (*at < end && (**at == ' ' || (**at >= '\t' && **at <= '\r'))) ++*at;
    const u8 *stop = *at;
    while (stop < end && *stop != ' ' && (*stop < '\t' || *stop > '\r')) ++stop;
    return (size_t)(stop - *at);
}

int main(int argc, char **argv) {
    size_t room = 1 << 16, size = 0;
    u8 *data = malloc(room);
    if (argc != 2) fail(usage);
    for (ssize_t got; data != NULL && (got = read(0, data + size, room - size)) > 0;) {
        size += (size_t)got;
        if (size == room) data = realloc(data, room *= 2);
    }
    if (data == NULL) fail("there is too little memory for these answers");
    u64 first = number(argv[1], usage);
    if (first > size) fail(usage);
    const u8 *one = data, *other = data + first, *middle = other, *end = data + size;
    for (;;) {
        size_t length = word(&one, middle);
        if (length != word(&other, end) || memcmp(one, other, length) != 0) return 1;
        if (length == 0) return 0;
        one += length;
        other += length;
    }
}
