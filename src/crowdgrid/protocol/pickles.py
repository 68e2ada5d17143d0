"""Pickles, for machines that trust one another: reading one runs what is in it.

Only the modules that `tests/architecture/test_pickles.py` names may import this, pickle or cloudpickle. What decides
whether a pickle may be read stands before each call of `loads`, not here.
"""

from __future__ import annotations

import io
import pickle
from collections import ChainMap
from types import CodeType
from typing import Any, Final

import cloudpickle

_NAMELESS: Final = "<dynamic-code>"  # what cloudpickle calls the file of whatever it pickles by value
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})


def dumps(value: Any) -> bytes:
    """`value` as a pickle, with what was defined in `__main__` or a notebook in it.

    Raises:
        Whatever `value` raises when it is pickled; mostly TypeError or pickle.PicklingError.
    """
    if type(value) in _PLAIN:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    if type(value) is tuple and len(value) == 2:  # a call
        args, kwargs = value
        if type(args) is tuple and not kwargs and _PLAIN.issuperset(map(type, args)):
            return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    with io.BytesIO() as file:
        _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
        return file.getvalue()


def _code(code: CodeType) -> tuple[Any, ...]:
    """How cloudpickle writes code, with the name of its file: a traceback shall show the line that failed."""
    make, parts = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return make, tuple(code.co_filename if part == _NAMELESS else part for part in parts)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = ChainMap({CodeType: _code}, cloudpickle.Pickler.dispatch_table)


def loads(data: bytes) -> Any:
    """What is in a pickle. It runs code: the caller knows and trusts who wrote it.

    Raises:
        Whatever the pickle raises when it is read.
    """
    return pickle.loads(data)  # noqa: S301 - see the docstring
