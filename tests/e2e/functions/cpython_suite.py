"""Runs CPython's own tests of executors and futures on a grid: `python cpython_suite.py FOLDER`.

A program of its own, because those tests look at stderr, logging and threads as they are without a test runner. FOLDER
holds CPython's package `test`, so that workers can import it too. Prints one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
import unittest
from types import ModuleType
from typing import Any, Final

import crowdgrid as cg

MIXINS: Final = (
    "InitializerMixin",
    "FailingInitializerMixin",
    "ExecutorShutdownTest",
    "WaitTests",
    "AsCompletedTests",
    "ExecutorTest",
)
LEFT_OUT: Final = {
    "test_interpreter_shutdown": "what a worker prints does not go to this terminal; test_executor.py looks at the exit",
    "test_submit_after_interpreter_shutdown": "starts pools of the standard library by their name",
    "test_hang_gh83386": "as test_interpreter_shutdown",
    "test_cancel_futures": "wants one call to run before the first could be sent; test_executor.py has what is promised",
}
FEWEST: Final = 35  # tests there are in Python 3.11


def on(grid: cg.Grid, suite: ModuleType, mixin: str) -> type[unittest.TestCase]:
    """The tests of one mixin as a test case on our executor."""

    def executor_type(max_workers: int | None = None, **how: Any) -> cg.Executor:
        return cg.Executor(grid, max_workers, **how)

    body = {"executor_type": staticmethod(executor_type)}
    made: type[unittest.TestCase] = type(mixin, (getattr(suite, mixin), suite.ExecutorMixin, suite.BaseTestCase), body)
    return made


def cases(grid: cg.Grid, suite: ModuleType) -> unittest.TestSuite:
    suite.Future = type("Future", (cg.GridFuture,), {})  # type: ignore[attr-defined] # texts are compared with its name
    found = unittest.TestSuite()
    for case in [*(on(grid, suite, mixin) for mixin in MIXINS), suite.FutureTests]:
        found.addTests(case(name) for name in unittest.defaultTestLoader.getTestCaseNames(case) if name not in LEFT_OUT)
    return found


def main(folder: str) -> None:
    sys.path.insert(0, folder)
    suite = importlib.import_module("test.test_concurrent_futures")
    result = unittest.TestResult()
    with cg.local(agents=1, cpus=5) as grid:
        found = cases(grid, suite)
        found.run(result)
    told = {
        "ran": result.testsRun,
        "skipped": [str(test) for test, _ in result.skipped],
        "failed": [f"{test}\n{text}" for test, text in [*result.errors, *result.failures]],
    }
    print()  # the tests print how long each took
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
