"""joblib on a grid: joblib's own tests of its backends, and scikit-learn giving what it gives without a grid.

joblib ships its tests with the library; those that fit a backend of processes elsewhere are called here with ours.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.test import test_parallel as theirs
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

import crowdgrid as cg
from crowdgrid.errors import BadInput

CROWD: Final = "crowdgrid"

FITTING: Final[list[tuple[str, tuple[Any, ...]]]] = [
    *[
        ("test_simple_parallel", (CROWD, n_jobs, verbose))
        for n_jobs, verbose in [(1, 2), (2, 2), (2, 11), (-1, 0), (-2, 0)]
    ],
    ("test_parallel_timeout_success", (CROWD,)),
    ("test_parallel_timeout_fail", (CROWD,)),
    *[("test_parallel_timeout_fail_with_generator", (CROWD, how)) for how in ("generator", "generator_unordered")],
    ("test_error_in_task_iterator", (CROWD,)),
    ("test_nested_exception_dispatch", (CROWD,)),
    ("test_invalid_njobs", (CROWD,)),
    *[("test_njobs_converted_to_int", (CROWD, n_jobs)) for n_jobs in ("2", 2.3, 2)],
    ("test_nested_loop", (CROWD, "threading")),
    *[("test_abort_backend", (n_jobs, CROWD)) for n_jobs in (2, -2, -1)],
    *[("test_deadlock_with_generator", (CROWD, how, 2)) for how in ("generator", "generator_unordered")],
    *[("test_multiple_generator_call", (CROWD, how, 2)) for how in ("generator", "generator_unordered")],
    *[("test_multiple_generator_call_managed", (CROWD, how, 2)) for how in ("generator", "generator_unordered")],
    ("test_multiple_generator_call_separated", (CROWD, "generator", "generator_unordered", 2)),
    ("test_lambda_expression", (CROWD,)),
    ("test_background_thread_parallelism", (CROWD,)),
]


@pytest.fixture(scope="module", autouse=True)
def registered(grid: cg.Grid) -> Iterator[None]:
    cg.register_joblib(grid, make_default=False)
    yield
    joblib.parallel.BACKENDS.pop(CROWD)


@pytest.mark.filterwarnings("ignore:.*tasks.* which were still being processed:UserWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that same warning, in a generator
@pytest.mark.parametrize(
    ("name", "args"), FITTING, ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else value
)
def test_joblibs_own_tests_of_its_backends_pass(name: str, args: tuple[Any, ...]) -> None:
    test: Callable[..., None] = getattr(theirs, name)
    test(*args)


def test_every_backend_test_of_joblib_that_is_named_here_exists() -> None:
    assert all(callable(getattr(theirs, name)) for name, _ in FITTING)


def where(_: int) -> int:
    return os.getpid()


def test_calls_run_elsewhere_in_the_order_they_were_made() -> None:
    pids = Parallel(n_jobs=2, backend=CROWD)(delayed(where)(x) for x in range(20))
    assert os.getpid() not in pids
    squares = Parallel(n_jobs=-1, backend=CROWD)(delayed(pow)(x, 2) for x in range(200))
    assert squares == [x * x for x in range(200)]


def test_the_default_backend_is_the_grid_once_it_is_registered(grid: cg.Grid) -> None:
    with parallel_config(backend=CROWD, n_jobs=2):
        assert Parallel()(delayed(where)(x) for x in range(4)) != [os.getpid()] * 4


def test_large_arrays_arrive_whole() -> None:
    array = np.arange(1_000_000, dtype=np.float64)
    sums = Parallel(n_jobs=2, backend=CROWD)(delayed(np.sum)(array + x) for x in range(4))
    assert sums == [array.sum() + x * len(array) for x in range(4)]


def test_what_cannot_be_pickled_is_said_and_the_backend_goes_on() -> None:
    with pytest.raises(Exception, match="pickle"):
        Parallel(n_jobs=2, backend=CROWD)(delayed(id)(lock) for lock in [threading.Lock()])
    assert Parallel(n_jobs=2, backend=CROWD)(delayed(abs)(-x) for x in range(4)) == [0, 1, 2, 3]


def test_a_grid_of_others_refuses_objects_and_says_why(grid: cg.Grid) -> None:
    address = grid.connection.address
    with cg.connect(address.url, address.token) as other:
        cg.register_joblib(other, make_default=False)
        with pytest.raises(BadInput, match="not one of your own"):
            Parallel(n_jobs=2, backend=CROWD)(delayed(abs)(x) for x in [1])
    cg.register_joblib(grid, make_default=False)


def test_a_grid_search_and_a_forest_are_what_they_are_without_a_grid() -> None:
    data, target = load_digits(return_X_y=True)
    data, target = data[:600], target[:600]
    depths = {"max_depth": [2, 5, 9], "min_samples_leaf": [1, 5]}

    def searched(n_jobs: int) -> GridSearchCV:
        return GridSearchCV(DecisionTreeClassifier(random_state=0), depths, cv=3, n_jobs=n_jobs).fit(data, target)

    def grown(n_jobs: int) -> np.ndarray:
        forest = RandomForestClassifier(40, random_state=0, n_jobs=n_jobs).fit(data, target)
        return forest.predict_proba(data)

    local, forest = searched(1), grown(1)
    with parallel_config(backend=CROWD):
        crowd = searched(-1)
        trees = grown(-1)
    assert crowd.best_params_ == local.best_params_
    for name in itertools.chain(["mean_test_score"], (f"split{fold}_test_score" for fold in range(3))):
        assert np.array_equal(crowd.cv_results_[name], local.cv_results_[name])
    assert np.array_equal(trees, forest)
