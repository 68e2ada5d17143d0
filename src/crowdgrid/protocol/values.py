"""Plain values as bytes and back, each as the very type it was: what calls, results and captured constants are.

msgpack has no tuple, no set, no date. So that nothing changes its type on the way, such a value is written as a list
whose first element is an extension that names the type (`forms.py` has the table), or as an extension alone. What
msgpack writes faithfully by itself, and that is most of it, is written as msgpack does: a reader in another language
needs nothing else.

Reading never makes anything but the types of the table: no class is looked up by a name from outside, nothing is
imported but numpy, and that only for an array.

Invariants: `unpack_value(pack_value(x))` equals x and has its type, all the way down; hostile bytes raise `BadInput`.
What is met twice is written twice: identity does not travel. Sets are written in an order of their own, so
that equal sets give equal bytes on every machine.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import msgspec

from crowdgrid import limits
from crowdgrid.errors import BadInput, CannotTravel
from crowdgrid.protocol import forms

# Types msgpack writes and reads as what they are. A subclass is something else, so types are compared exactly.
LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes})


class _Met(threading.local):
    """Whether this thread met an extension since it last looked: then what was read has to be made whole."""

    any = False


_met: Final = _Met()


def _meet(code: int, data: memoryview) -> Any:
    _met.any = True
    return forms.meet(code, data)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ext_hook=_meet).decode
_UNREADABLE: Final = (
    msgspec.DecodeError,
    RecursionError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    OSError,
    MemoryError,
)


def pack_value(value: Any, what: str = "A value") -> bytes:
    """`value` as bytes.

    Args:
        what: how to call it if it cannot travel, e.g. "An argument".

    Raises:
        CannotTravel: it is, or holds, something that is no plain value; the message says what and where.
    """
    kind = type(value)
    try:
        if kind in LEAVES or (kind is list and LEAVES.issuperset(map(type, value))):
            return _encode(value)
        if kind is tuple and LEAVES.issuperset(map(type, value)):
            return _encode([forms.TUPLE, *value])
    except (OverflowError, UnicodeEncodeError):
        pass  # a large integer, or half a character: both have forms of their own
    return pack_formed(value, what)


def unpack_value(data: bytes) -> Any:
    """The value in `data`.

    Raises:
        BadInput: it is no packed value.
        Unavailable: it is an array, and numpy is not installed here.
    """
    try:
        read = _decode(data)
        if _met.any:
            _met.any = False
            return forms.rebuild(read)
        return read
    except _UNREADABLE as error:
        raise BadInput(f"These bytes are no packed value: {str(error) or type(error).__name__}.") from None


def pack_formed(value: Any, what: str) -> bytes:
    """As `pack_value`, the long way, which takes every value."""
    try:
        return _encode(forms.Forming().form(value))
    except forms.NotPlain as error:
        raise CannotTravel(
            f"{what} of type {forms.type_name(error.value)} cannot travel{forms.place_of(error.value, value)}.",
            hint=forms.hint_for(error.value),
        ) from None
    except forms.TooDeep as error:
        raise CannotTravel(f"{what} cannot travel: {error}.") from None


assert limits.VALUE_DEPTH < 500, "forming a value recurses"
