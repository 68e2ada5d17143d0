#!/bin/sh
# Proves that the committed modules come from these sources: builds them anew elsewhere and compares.
# Exit status: 0 the same bytes, 1 they differ, 3 no compiler here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kept=$here/../src/crowdgrid/kernels
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

"$here/build.sh" "$fresh"

status=0
for name in $(for file in "$fresh"/*.wasm "$kept"/*.wasm; do basename "$file"; done | sort -u); do
    if ! cmp -s "$fresh/$name" "$kept/$name"; then
        echo "kernels: $name is not what kernels/${name%.wasm}.c compiles to." >&2
        status=1
    fi
done
if [ $status -ne 0 ]; then
    echo "hint: run kernels/build.sh with Debian 12's clang-14 and commit the result." >&2
    exit 1
fi
echo "kernels: all modules are what their sources compile to."
