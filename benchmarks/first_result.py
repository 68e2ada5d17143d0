"""A user's first minute with `crowdgrid.local()`, timed in a fresh process: `python -m benchmarks.first_result`.

Says one line of JSON: seconds for `import crowdgrid`, for `local()`, and until its first result is there.
"""

from __future__ import annotations

import json
import time


def main() -> None:
    began = time.perf_counter()
    import crowdgrid

    imported = time.perf_counter()
    grid = crowdgrid.local()
    returned = time.perf_counter()
    from crowdgrid import kernels

    answer = grid.run(kernels.path("echo"), items=[b"hello"]).result(timeout=60)
    there = time.perf_counter()
    grid.close()
    assert answer == [b"hello"], answer
    print(json.dumps({"import": imported - began, "local": returned - imported, "first": there - imported}))


if __name__ == "__main__":
    main()
