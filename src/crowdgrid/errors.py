"""Every error crowdgrid shows to anybody, as one tree.

    CrowdgridError
    ├── BadInput            what was sent cannot be used            400
    │   ├── TooLarge        over a limit                            413
    │   ├── BadProgram      not a program this grid can run         422
    │   └── CannotTravel    a value that stays where it was made    422
    ├── NotAllowed          who you are does not permit it          403
    │   └── NotSignedIn     no token, or a wrong one                401
    ├── NotFound            no such thing, or not yours to see      404
    ├── Conflict            clashes with what is there              409
    ├── Busy                try again in a while                    429
    ├── Unavailable         the hub, store or link is down          503
    │   └── Fenced          another hub took over this store        503
    ├── JobFailed           the job ended without an answer         422
    ├── RemoteError         a function raised where it ran          422
    └── TimedOut            not ready within the time you gave      504

An error is one clear sentence (its message) and a `hint`, what to do next. Over HTTP it is
problem+json (RFC 9457); over the links it is `Failed(code, message, hint)`; in the terminal it is
two lines. `code` is stable and is what programs should test. What others said may be part of the sentence, so
control characters in it are replaced: Python prints it as it is.
"""

from __future__ import annotations

from typing import ClassVar, Final

_SHOWN: Final = frozenset("\n\t\u00a0\u202f\u3000")  # and spaces of other scripts


def printable(text: str) -> str:
    """Somebody else's words, safe for a terminal: control characters, but for line ends and tabs, become U+FFFD."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in _SHOWN else "\ufffd" for letter in text)


class CrowdgridError(Exception):
    """Something went wrong in crowdgrid."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = printable(message) or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = printable(hint) or self.default_hint
        super().__init__(self.message)
        if self.hint:
            self.add_note(f"Hint: {self.hint}")  # so that a traceback shows it too


class BadInput(CrowdgridError):
    """What was sent cannot be used."""

    code = "bad_input"
    http_status = 400


class TooLarge(BadInput):
    """What was sent is over a limit."""

    code = "too_large"
    http_status = 413


class BadProgram(BadInput):
    """This is not a program the grid can run."""

    code = "bad_program"
    http_status = 422


class CannotTravel(BadInput):
    """This value cannot travel to another machine."""

    code = "cannot_travel"
    http_status = 422


class NotAllowed(CrowdgridError):
    """You are not allowed to do that."""

    code = "not_allowed"
    http_status = 403


class NotSignedIn(NotAllowed):
    """The hub does not know this token."""

    code = "not_signed_in"
    http_status = 401
    default_hint = "Give a valid token with --token, CROWDGRID_TOKEN or `crowdgrid login`."


class NotFound(CrowdgridError):
    """There is no such thing here, or it is not yours to see."""

    code = "not_found"
    http_status = 404


class Conflict(CrowdgridError):
    """That clashes with what is already there."""

    code = "conflict"
    http_status = 409


class Busy(CrowdgridError):
    """The hub has too much to do right now."""

    code = "busy"
    http_status = 429
    retryable = True
    default_hint = "Wait a moment and try again."


class Unavailable(CrowdgridError):
    """The hub cannot answer right now."""

    code = "unavailable"
    http_status = 503
    retryable = True
    default_hint = "Is the hub running? `crowdgrid doctor` checks the way to it."


class Fenced(Unavailable):
    """Another hub has taken over this store."""

    code = "fenced"
    retryable = False
    default_hint = "Only one hub may run on a store; stop the other one first."


class JobFailed(CrowdgridError):
    """The job ended without an answer."""

    code = "job_failed"
    http_status = 422


class RemoteError(CrowdgridError):
    """A function raised an exception where it ran.

    Stands for an exception whose class is not known here, because a class is never looked up on a stranger's word.

    Attributes:
        type_name: the exception's class, e.g. "ValueError" or "mymod.MyError".
        traceback: its traceback there, as text.
        node: the node it happened on, "" unknown.
        index: the input's place in the map, None when there is none.
    """

    code = "remote_error"
    http_status = 422

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        type_name: str = "",
        traceback: str = "",
        node: str = "",
        index: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.type_name = type_name
        self.traceback = traceback
        self.node = node
        self.index = index


class TimedOut(CrowdgridError):
    """The answer was not ready within the time you gave."""

    code = "timed_out"
    http_status = 504
    retryable = True


def _tree(root: type[CrowdgridError]) -> dict[str, type[CrowdgridError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_code(code: str, message: str, hint: str = "") -> CrowdgridError:
    """The error a remote side named by its `code`; unknown codes become a plain CrowdgridError."""
    return _tree(CrowdgridError).get(code, CrowdgridError)(message, hint=hint)
