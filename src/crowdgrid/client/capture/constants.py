"""Things that are no plain values but constants all the same: they are made again by a call of installed code.

Not a general way for objects: an object has a state, and what becomes of it elsewhere would be a surprise. What is here
cannot change, is looked up by its name, or is nothing but its attributes.
"""

from __future__ import annotations

import collections
import enum
import functools
import logging
import operator
import re
import string
import struct
import sys
import threading
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any, Final, NamedTuple


class Made(NamedTuple):
    """`function(*args, **kwargs)` makes it again; `function` may have to be made first."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = {}


def made_by_a_call(value: Any) -> Made | None:
    """How `value` is made; None when it is not one of these."""
    kind = type(value)
    if kind in _MADE:
        return _MADE[kind](value)
    if isinstance(value, logging.Logger):
        return Made(logging.getLogger, () if value is logging.root else (value.name,))
    if isinstance(value, enum.Flag):
        return Made(kind, (value.value,))
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return Made(kind, tuple(value))
    if kind in _REDUCED:
        return _reduced(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.dtype):
        return Made(numpy.dtype, (numpy.lib.format.dtype_to_descr(value),))
    return None


def named_tuple(cls: type) -> Made | None:
    """How a class made by `collections.namedtuple` is made again."""
    if cls.__bases__ != (tuple,) or not hasattr(cls, "_field_defaults"):
        return None
    defaults = tuple(cls._field_defaults.values())
    fields = tuple(cls._fields)  # type: ignore[attr-defined]
    return Made(collections.namedtuple, (cls.__name__, fields), {"defaults": defaults, "module": cls.__module__})  # noqa: PYI024


def enumeration(cls: type) -> Made | None:
    """How an enumeration made by a call, `Enum("Color", "RED GREEN")`, is made again."""
    if not isinstance(cls, enum.EnumMeta) or len(cls.__bases__) != 1:
        return None
    found: dict[str, enum.Enum] = dict(cls.__members__)
    members = tuple((name, member.value) for name, member in found.items())
    return Made(cls.__bases__[0], (cls.__name__, members), {"module": cls.__module__, "qualname": cls.__qualname__})


def _reduced(value: Any) -> Made | None:
    """As pickle would have it, where that is a call of installed code with constant arguments."""
    try:
        told = value.__reduce_ex__(2)
    except TypeError:
        return None
    if not isinstance(told, tuple) or len(told) < 2 or any(part is not None for part in told[2:]):
        return None
    return Made(told[0], told[1])


WRAPPERS: Final = (staticmethod, classmethod, property)


def wrapped_functions(value: Any) -> list[types.FunctionType]:
    """The functions in a method, static method, class method or property, or the function itself."""
    parts = _property_parts(value) if isinstance(value, property) else [getattr(value, "__func__", value)]
    return [part for part in parts if isinstance(part, types.FunctionType)]


def _property_parts(value: property) -> list[Any]:
    return [value.fget, value.fset, value.fdel]


def _partial(value: functools.partial[Any]) -> Made:
    return Made(functools.partial, (value.func, *value.args), value.keywords)


def _cache(value: Any) -> Made:
    return Made(Made(functools.lru_cache, (), value.cache_parameters()), (value.__wrapped__,))


def _alias(value: Any) -> Made:
    return Made(operator.getitem, (_origin(value), _arguments(value)))


def _origin(value: Any) -> Any:
    """`typing.List` for `typing.List[int]`."""
    if value.__origin__ is typing.Union:
        return typing.Union
    name = getattr(value, "_name", None)
    return getattr(typing, name, value.__origin__) if name else value.__origin__


def _arguments(value: Any) -> Any:
    arguments = value.__args__
    if value.__origin__ is collections.abc.Callable and arguments:
        return (list(arguments[:-1]) if arguments[:-1] != (...,) else ..., arguments[-1])
    return arguments[0] if len(arguments) == 1 else arguments


def _union(value: Any) -> Made:
    return Made(operator.getitem, (typing.Union, value.__args__))


def _type_variable(value: Any) -> Made:
    told: dict[str, Any] = {"covariant": value.__covariant__, "contravariant": value.__contravariant__}
    if value.__bound__ is not None:
        told["bound"] = value.__bound__
    return Made(type(value), (value.__name__, *getattr(value, "__constraints__", ())), told)


_MADE: Final[dict[type, Callable[[Any], Made]]] = {
    functools.partial: _partial,
    staticmethod: lambda value: Made(staticmethod, (value.__func__,)),
    classmethod: lambda value: Made(classmethod, (value.__func__,)),
    property: lambda value: Made(property, (*_property_parts(value), value.__doc__)),
    type(functools.lru_cache(print)): _cache,
    re.Pattern: lambda value: Made(re.compile, (value.pattern, value.flags)),
    struct.Struct: lambda value: Made(struct.Struct, (value.format,)),
    string.Template: lambda value: Made(string.Template, (value.template,)),
    types.GenericAlias: _alias,
    types.UnionType: _union,
    type(typing.List[int]): _alias,  # noqa: UP006
    type(typing.Optional[int]): _alias,  # noqa: UP045
    typing.TypeVar: _type_variable,
    typing.ParamSpec: _type_variable,
    typing.NewType: lambda value: Made(typing.NewType, (value.__name__, value.__supertype__)),
    threading.local: lambda value: Made(threading.local, ()),  # it is empty in every thread that has not used it
    weakref.WeakKeyDictionary: lambda value: Made(weakref.WeakKeyDictionary, ()),  # what it holds is not its own;
    weakref.WeakValueDictionary: lambda value: Made(weakref.WeakValueDictionary, ()),  # functools.singledispatch
    weakref.WeakSet: lambda value: Made(weakref.WeakSet, ()),  # keeps its cache in one
    types.SimpleNamespace: lambda value: Made(types.SimpleNamespace, (), dict(vars(value))),
    types.MappingProxyType: lambda value: Made(types.MappingProxyType, (dict(value),)),
}
_REDUCED: Final = frozenset({operator.itemgetter, operator.attrgetter, operator.methodcaller})
