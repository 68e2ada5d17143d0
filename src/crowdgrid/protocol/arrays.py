"""numpy arrays and scalars as bytes: npy as numpy writes it, never with pickled objects in it.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. numpy is imported when an array is met and not
before: most programs have none, and a node need not have numpy installed.

Invariants: nothing is allocated on the word of a header: the bytes have to be there. So elements have some: of those
that have none any number would be there. An array that was read owns its memory and may be written to, like any other.
"""

from __future__ import annotations

import functools
import io
import math
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from crowdgrid.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES: Final = 10_000  # of a structured dtype with many fields
_MAGIC: Final = b"\x93NUMPY\x01\x00"
_TEXT_AT: Final = len(_MAGIC) + 2  # behind the length of the header
# The header of an array without fields, as numpy and `_header` write it. There is one way to cut the digits up: were
# there several, a few of them that end in nothing would take for ever.
_USUAL: Final = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([^']{1,30})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?){0,64}(?:\d{1,19})?)\), \} *\n",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[<>|=][?a-zA-Z]\d{0,9}(\[\d{0,9}[a-zA-Z]{1,2}\])?")


def is_array(value: Any) -> bool:
    """Whether `value` is an array itself, not one of a subclass with more to it."""
    numpy = sys.modules.get("numpy")  # if it is an array, somebody has imported it
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def is_scalar(value: Any) -> bool:
    """Whether `value` is one element of an array: a number, a date, a text or a record."""
    numpy = sys.modules.get("numpy")
    return (
        numpy is not None
        and isinstance(value, numpy.generic)
        and type(value).__module__ == "numpy"
        and not value.dtype.hasobject
    )


def write_array(value: np.ndarray[Any, Any]) -> bytes:
    """`value` as npy, in C or Fortran order as it lies in memory.

    Raises:
        ValueError: its dtype cannot be written.
    """
    import numpy as np

    dtype = value.dtype
    _check_elements(value.size, dtype)
    if dtype.names is None and dtype.kind != "V":  # as numpy does, at a fifth of its time
        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        return _header(dtype.str, fortran, value.shape) + value.tobytes("F" if fortran else "C")
    if not str(dtype).isascii():
        raise ValueError("names of its fields are not ASCII")  # reading them back needs numpy's insides
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, value, allow_pickle=False)
    return buffer.getvalue()


@functools.lru_cache(maxsize=256)
def _header(descr: str, fortran: bool, shape: tuple[int, ...]) -> bytes:
    """What stands before the bytes of an array: a whole number of 64 bytes."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    text += " " * (-(_TEXT_AT + len(text) + 1) % 64) + "\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text.encode()


def read_array(data: memoryview) -> np.ndarray[Any, Any]:
    """The array in `data`.

    Raises:
        ValueError: it is no npy, or holds Python objects.
        Unavailable: numpy is not installed here.
    """
    numpy = _numpy()
    try:
        usual = _USUAL.match(data)
        if usual is not None and int.from_bytes(usual[1], "little") == usual.end() - _TEXT_AT:
            _, kind, order, dimensions = usual.groups()
            shape = tuple(map(int, re.findall(rb"\d+", dimensions)))
            return _copied(data[usual.end() :], shape, _dtype(kind), order == b"True")
        head = io.BytesIO(data[: _HEADER_BYTES + 16])
        version = numpy.lib.format.read_magic(head)
        read = {
            (1, 0): numpy.lib.format.read_array_header_1_0,
            (2, 0): numpy.lib.format.read_array_header_2_0,
        }
        if version not in read:
            raise ValueError("it is of a newer version of the format")
        shape, fortran, dtype = read[version](head, max_header_size=_HEADER_BYTES)
        return _copied(data[head.tell() :], shape, dtype, fortran)
    except Exception as error:  # noqa: BLE001 - a header is a Python literal, and may be wrong in many ways
        raise ValueError(f"an array cannot be read: {error}") from None


def _copied(data: memoryview, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool) -> np.ndarray[Any, Any]:
    if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("its size is not what its header says")
    _check_elements(math.prod(shape), dtype)
    lying: np.ndarray[Any, Any] = _numpy().ndarray(shape, dtype, data, order="F" if fortran else "C")
    return lying.copy("K")


def _check_elements(count: int, dtype: np.dtype[Any]) -> None:
    if count and not dtype.itemsize:
        raise ValueError("its elements have no bytes")


def write_scalar(value: np.generic) -> bytes:
    """`value` as its dtype, a zero byte, and its own bytes; text as UTF-8, a record as npy."""
    import numpy as np

    if isinstance(value, np.str_):  # empty, it is no element of an array
        return b"U\0" + str(value).encode("utf-8", "surrogatepass")
    if isinstance(value, np.bytes_):
        return b"S\0" + bytes(value)
    if value.dtype.kind == "V":
        return b"\0" + write_array(np.asarray(value))
    return value.dtype.str.encode() + b"\0" + value.tobytes()


def read_scalar(data: memoryview) -> np.generic:
    """The scalar in `data`. Raises as `read_array`."""
    kind, _, raw = bytes(data).partition(b"\0")
    if not kind:
        record: Any = read_array(memoryview(raw))
        return record[()]  # type: ignore[no-any-return]
    if kind == b"U":
        return _numpy().str_(raw.decode("utf-8", "surrogatepass"))  # type: ignore[no-any-return]
    if kind == b"S":
        return _numpy().bytes_(raw)  # type: ignore[no-any-return]
    dtype = _dtype(kind)
    if dtype.itemsize != len(raw):
        raise ValueError("a scalar is not of its type's size")
    lying: Any = _numpy().ndarray((), dtype, raw)
    return lying[()]  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=64)
def _dtype(kind: bytes) -> np.dtype[Any]:
    if not _SCALAR.fullmatch(kind.decode("ascii")):
        raise ValueError("a scalar has no type")
    made: np.dtype[Any] = _numpy().dtype(kind.decode())
    if made.hasobject:
        raise ValueError("a scalar is a Python object")
    return made


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise Unavailable(
            "This value is an array, and numpy is not installed on this node.",
            hint="Install numpy where the function runs.",
        ) from None
    return numpy
