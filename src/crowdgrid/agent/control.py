"""The owner's hand on a running agent: a Unix socket in the data folder that only its user can open.

One JSON object a line each way: `{"verb": …, …}` is answered by `{"ok": …}` or by `{"code", "message",
"hint"}`. Verbs: status, pause [seconds], finish, stop, resume, limits [changes], python [who], leave. Both halves are
here: the agent's `Control` and the terminal's `ask`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from crowdgrid import errors
from crowdgrid.errors import BadInput, CrowdgridError, Unavailable

SOCKET_NAME: Final = "control.sock"
LINE_BYTES: Final = 64 * 1024
ANSWER_SECONDS: Final = 10.0
Verb: TypeAlias = Callable[..., dict[str, Any]]


class Control:
    """Answers the owner. `verbs` maps a name to what does it; arguments come by name."""

    def __init__(self, folder: Path, verbs: Mapping[str, Verb]) -> None:
        self._folder, self._verbs = folder, verbs
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen. The folder's lock is held, so a socket that is there is a dead agent's."""
        with _reachable(self._folder) as path:
            _remove(path)
            before = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_BYTES)
            finally:
                os.umask(before)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.close()
            (self._folder / SOCKET_NAME).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while line := await reader.readline():
                writer.write(msgspec.json.encode(self._answer(line)) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # it hung up, or sent a line that is too long
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": self._do(line)}
        except CrowdgridError as error:
            return {"code": error.code, "message": error.message, "hint": error.hint}

    def _do(self, line: bytes) -> dict[str, Any]:
        try:
            asked = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            raise BadInput("A line of control is a JSON object.") from None
        name = asked.pop("verb", "")
        verb = self._verbs.get(name) if isinstance(name, str) else None
        if verb is None:
            raise BadInput(f"An agent knows no verb {name!r}.", hint=f"It knows {', '.join(sorted(self._verbs))}.")
        try:
            return verb(**asked)
        except TypeError:
            raise BadInput(f"The verb {name!r} does not take these arguments.") from None


def ask(folder: Path, verb: str, **arguments: Any) -> dict[str, Any]:
    """Have the agent that runs on `folder` do something; returns its answer.

    Raises:
        Unavailable: no agent runs there.
        CrowdgridError: what it refused, as it said it.
    """
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER_SECONDS)
            with _reachable(folder) as path:
                sock.connect(path)
            sock.sendall(msgspec.json.encode({"verb": verb, **arguments}) + b"\n")
            answer = msgspec.json.decode(_line(sock), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        raise Unavailable(
            f"No agent runs on {folder}.", hint="Start one with `crowdgrid agent run`, or name its folder with --data."
        ) from None
    if "ok" in answer:
        found: dict[str, Any] = answer["ok"]
        return found
    raise errors.from_code(answer.get("code", ""), answer.get("message", ""), answer.get("hint", ""))


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _line(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = sock.recv(LINE_BYTES)
        if not piece:
            break
        data += piece
    return data


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A path to the socket that fits the 108 bytes the system has for one, however long the folder's is."""
    plain = str(folder / SOCKET_NAME)
    if len(os.fsencode(plain)) < 100:
        yield plain
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
