"""How calls and their results are written: as plain data, or as pickles between machines that trust one another.

`Plain` is for any grid: arguments and results are msgpack, and nothing a stranger sends becomes more than data.
`Pickled` is for machines of one's own. Reading a pickle runs what is in it, so this module and the worker are the only
places that read one, and here only after `trust.Trust` has seen the signature of a node that is trusted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import Any, Final, Protocol

from crowdgrid import limits
from crowdgrid.core.reducing.answers import Answer
from crowdgrid.errors import BadInput, CannotTravel, RemoteError
from crowdgrid.protocol import calls, values
from crowdgrid.protocol.failures import Failure, unpack_failure

RUNTIMES: Final = {"msgpack": "python", "pickle": "python-pickle"}


class BrokenInitializer(RemoteError, BrokenExecutor):
    """The initializer of an executor raised, so none of its calls can be made."""

    code = "broken_initializer"


class Codec(Protocol):
    """One way to write calls."""

    name: str
    runtime: str
    labels: tuple[str, ...]

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """One call as an item. Raises CannotTravel."""
        ...

    def arguments(self, item: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call in an item this user's own programs appended."""
        ...

    def value(self, data: bytes) -> Any:
        """What a call returned."""
        ...

    def exception(self, answer: Answer, where: str) -> BaseException:
        """What a call raised; `where` tells node and index for people."""
        ...


class Plain:
    """msgpack both ways.

    Args:
        classes: exception classes that travelled with the function, and so may be raised here.
    """

    name = "msgpack"
    runtime = RUNTIMES["msgpack"]
    labels: tuple[str, ...] = ()

    def __init__(self, classes: Sequence[type[BaseException]] = ()) -> None:
        self._classes = classes
        self.call = calls.pack_call  # bound here: once an item
        self.arguments = calls.unpack_call
        self.value = values.unpack_value

    def exception(self, answer: Answer, where: str) -> BaseException:
        return _exception(answer, where, self._classes, unpickle=False)


class Pickled:
    """Pickles both ways; only for results whose signer was found to be trusted."""

    name = "pickle"
    runtime = RUNTIMES["pickle"]

    def __init__(self) -> None:
        from crowdgrid.protocol import pickles

        # Pickles with code in them are read only by the Python that wrote them.
        self.labels: tuple[str, ...] = (python_label(),)
        self._dumps = pickles.dumps
        self.value = pickles.loads

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        try:
            return self._dumps((args, kwargs))
        except Exception as error:
            raise CannotTravel(f"An argument cannot be pickled: {error}") from error

    def arguments(self, item: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        found: tuple[tuple[Any, ...], dict[str, Any]] = self.value(item)
        return found

    def exception(self, answer: Answer, where: str) -> BaseException:
        return _exception(answer, where, (), unpickle=True)


def python_label() -> str:
    """The label of nodes whose Python reads this one's pickles."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}"


def _exception(answer: Answer, where: str, classes: Sequence[type[BaseException]], *, unpickle: bool) -> BaseException:
    from crowdgrid.client.raising import to_exception

    failure = _failure_in(answer, unpickle)
    if failure is not None and failure.in_initializer:
        broken = BrokenInitializer(f"The initializer of the executor raised {failure.type}: {failure.message}")
        broken.__cause__ = to_exception(failure, classes=classes, where=where, unpickle=unpickle)
        return broken
    if failure is None:
        error = RemoteError(answer.error)
        error.add_note(where)
        return error
    return to_exception(failure, classes=classes, where=where, unpickle=unpickle)


def _failure_in(answer: Answer, is_trusted: bool) -> Failure | None:
    """What the function raised; None: its worker was ended before it could say, or its node says nothing of the kind."""
    if not answer.data or (len(answer.data) > limits.FAILURE_WHOLE_BYTES and not is_trusted):
        return None
    try:
        return unpack_failure(answer.data)
    except BadInput:
        return None
