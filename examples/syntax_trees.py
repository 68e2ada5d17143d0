"""How often does each kind of syntax-tree node occur in Python's standard library?

The pattern of every analysis of many files: a function that looks at one, `map` over all of them, a sum here. What
travels is the function's source and each file's text, so other machines need neither this library nor these files.
"""

import ast
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import crowdgrid as cg

LEFT_OUT = {"test", "tests", "site-packages", "dist-packages"}


@cg.function
def node_kinds(source):
    """How often each kind of node occurs in one file."""
    return Counter(type(node).__name__ for node in ast.walk(ast.parse(source)))


def sources() -> Iterator[bytes]:
    """The text of each file, read only when it is needed."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if LEFT_OUT.isdisjoint(path.relative_to(library).parts):
            yield path.read_bytes()


def main() -> None:
    began = time.perf_counter()
    total, files = Counter(), 0
    for kinds in node_kinds.map(sources(), ordered=False):  # their sum does not depend on the order
        total.update(kinds)
        files += 1
    on_grid = time.perf_counter() - began

    began = time.perf_counter()
    alone = Counter()
    for source in sources():
        alone.update(node_kinds(source))  # called like this it is a plain function
    here = time.perf_counter() - began

    for kind, count in total.most_common(5):
        print(f"{count:10,}  {kind}")
    print(f"{total.total():10,}  nodes in {files:,} files; {on_grid:.1f} s on the grid, {here:.1f} s here alone")
    if total != alone:
        raise SystemExit("The grid and this machine do not agree.")
    print("The grid and this machine agree.")


if __name__ == "__main__":
    main()
