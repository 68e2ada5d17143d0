#!/bin/sh
# Compiles every kernel to WebAssembly: build.sh [FOLDER], by default where the package keeps them.
# The bytes depend on the sources and on the versions named below only.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../src/crowdgrid/kernels}
compiler=${CLANG:-clang-14}
sysroot=${WASI_SYSROOT:-/usr}

if ! command -v "$compiler" >/dev/null || [ ! -e "$sysroot/lib/wasm32-wasi/libc.a" ]; then
    echo "kernels: no WASI compiler here." >&2
    echo "hint: on Debian 12: apt-get install clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32" >&2
    exit 3
fi

mkdir -p "$out"
cd "$here" # so that no path gets into the modules
for source in *.c; do
    # -msimd128 where it pays: four hashes at once; every browser since 2023 has it.
    case $source in nonces.c) simd=-msimd128 ;; *) simd= ;; esac
    # shellcheck disable=SC2086  # no flag, no argument
    "$compiler" --target=wasm32-wasi --sysroot="$sysroot" -std=c11 -O3 $simd -Wall -Wextra -Werror \
        -Wl,--strip-all -o "$out/${source%.c}.wasm" "$source"
    chmod 644 "$out/${source%.c}.wasm"
done
