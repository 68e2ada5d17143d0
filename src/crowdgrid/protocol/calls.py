"""One call of a function as bytes: `[[argument, …]]`, or `[[argument, …], {name: argument, …}]`.

Written once a call, so the way for plain arguments is short: about 0.4 µs each way.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crowdgrid.errors import BadInput
from crowdgrid.protocol import values
from crowdgrid.protocol.values import LEAVES

Call = tuple[tuple[Any, ...], dict[str, Any]]

_encode: Final = msgspec.msgpack.Encoder().encode


def pack_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The call as bytes. Raises CannotTravel when an argument is no plain value."""
    for value in args:
        if type(value) not in LEAVES:
            break
    else:
        try:
            if not kwargs:
                return _encode((args,))
            if LEAVES.issuperset(map(type, kwargs.values())):
                return _encode((args, kwargs))
        except (OverflowError, UnicodeEncodeError):
            pass  # see `values.pack_value`
    return values.pack_formed([list(args), kwargs] if kwargs else [list(args)], "An argument")


def _refuse(code: int, data: memoryview) -> Any:
    raise ValueError


unpack_plain: Final = msgspec.msgpack.Decoder(tuple[tuple[Any, ...]], ext_hook=_refuse).decode
"""A call of positional arguments only, all of which msgpack reads as what they are, as `(arguments,)`: three times as quick as
`unpack_call`. Raises DecodeError, or another Exception, for any other call and for what is none."""


def unpack_call(data: bytes) -> Call:
    """(positional, keyword arguments) of the call in `data`.

    Raises:
        BadInput: it is no call.
        Unavailable: an argument is an array, and numpy is not installed here.
    """
    whole = values.unpack_value(data)
    if type(whole) is list and whole and type(whole[0]) is list:
        if len(whole) == 1:
            return tuple(whole[0]), {}
        if len(whole) == 2 and type(whole[1]) is dict and all(type(name) is str for name in whole[1]):
            return tuple(whole[0]), whole[1]
    raise BadInput("These bytes are no call: they should be [[argument, …], {name: argument}].")
