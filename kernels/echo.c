/* echo [WORD ...]: prints what is on stdin, or the words with single spaces between if there is nothing. */
#include "kernel.h"

int main(int argc, char **argv) {
    static char data[64 * 1024];
    ssize_t got = read(0, data, sizeof data);
    int empty = got <= 0;
    for (; got > 0; got = read(0, data, sizeof data)) put_bytes(1, data, (size_t)got);
    for (int i = 1; empty && i < argc; i++) {
        if (i > 1) put_text(1, " ");
        put_text(1, argv[i]);
    }
    return 0;
}
