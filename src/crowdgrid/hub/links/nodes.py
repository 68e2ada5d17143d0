"""`/v1/node`: nodes that call in and take work.

A link begins with Hello → Challenge → Proof → Welcome; after that the two sides talk as they like. This module
turns messages into commands for the keeper and effects into messages; it decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from crowdgrid import limits
from crowdgrid.blobs import Blobs
from crowdgrid.core import commands as c
from crowdgrid.core import effects as e
from crowdgrid.core.model import Assignment, AssignmentKey, Job, Node, Outcome, Task, Verdict
from crowdgrid.errors import BadInput, Busy, CrowdgridError, NotFound, Unavailable
from crowdgrid.hub.access import Access
from crowdgrid.hub.inputs import Inputs
from crowdgrid.hub.keeper import Keeper
from crowdgrid.hub.links import reports
from crowdgrid.hub.links.handshake import Greeted, Handshake
from crowdgrid.hub.links.notes import Jobs, Note, note_again, note_of, spec_of
from crowdgrid.hub.links.socket import GOING_AWAY, PROTOCOL_ERROR, LinkSocket, Receive, Send
from crowdgrid.hub.links.unclaimed import Unclaimed
from crowdgrid.hub.metrics import LinkFigures
from crowdgrid.ids import did_of
from crowdgrid.protocol import codec, signing
from crowdgrid.protocol import messages as m
from crowdgrid.protocol.packing import Input

log = logging.getLogger("crowdgrid.links")

_VERIFIERS: Final = 2
_RETRY_AFTER_MS: Final = 500
_LEASE_BYTES: Final = 128  # of a lease in a frame, apart from its input
_PART_BYTES: Final = 96  # of a part of an input in a frame, apart from its data
_SPEC_BYTES: Final = 1024  # of a spec in a frame, apart from its arguments; generously
_COMMANDS: Final = 64  # a link hands to the keeper before it waits until they are handled


class NodeLink:
    """One node that is connected."""

    __slots__ = ("adopted", "adopting", "blob_token", "key", "node", "notes", "session", "socket", "told")

    def __init__(self, node: Node, session: int, socket: LinkSocket) -> None:
        self.node = node.number
        self.key = node.key
        self.session = session
        self.socket = socket
        self.blob_token = secrets.token_hex(32)
        self.notes: dict[bytes, Note] = {}
        self.told = {False: 0, True: 0}  # commands (reports: True) since it last waited for the keeper
        self.adopted: dict[bytes, Note] = {}  # notes of what it says it holds from an earlier link or hub
        self.adopting = False  # notes are being made of what it holds from an earlier link


class NodeLinks:
    """All node links of a hub: an ASGI application for `/v1/node`.

    Args:
        keeper: where commands go; effects come back by `keeper.listeners`.
        access: invitations. inputs: what a task's bounds mean. blobs: where large results were put.
        program_sizes: bytes of each program by digest, kept by `hub/programs.py`; a missing one is sent as 0.
    """

    def __init__(
        self,
        keeper: Keeper,
        access: Access,
        inputs: Inputs,
        blobs: Blobs,
        program_sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.traffic = LinkFigures()
        self._keeper = keeper
        self._inputs = inputs
        self._blobs = blobs
        self._unclaimed = Unclaimed(keeper.now)
        self._sizes = program_sizes if program_sizes is not None else {}
        self._jobs = Jobs(keeper.store)
        self._handshake = Handshake(keeper, access)
        self._links: dict[int, NodeLink] = {}  # by node
        self._tokens: dict[str, NodeLink] = {}  # by blob token
        self._sessions = 0
        self._work: set[asyncio.Task[Any]] = set()
        self._verifiers = ThreadPoolExecutor(_VERIFIERS, thread_name_prefix="verify")
        keeper.listeners.append(self._on_effects)
        keeper.resets.append(self._on_reset)

    # --- for the rest of the hub ---------------------------------------------------------------

    @property
    def online(self) -> int:
        """Nodes connected now."""
        return len(self._links)

    def may_read(self, token: str, digest: str) -> bool:
        """Whether the node with this blob token holds an assignment that names the blob."""
        link = self._tokens.get(token)
        if link is None:
            return False
        program = bytes.fromhex(digest)
        notes = (*link.notes.values(), *link.adopted.values())
        return any(note.program == program or digest in note.blobs for note in notes)

    def may_write(self, token: str) -> int:
        """Bytes the node with this blob token may put now: 0 unless it holds an assignment, and never without end."""
        link = self._tokens.get(token)
        if link is None or not (link.notes or link.adopted):
            return 0
        return min(self._unclaimed.left(link.node), limits.ANSWERS_BYTES)

    def wrote(self, token: str, size: int) -> None:
        """The node with this blob token put a blob that was not here before."""
        link = self._tokens.get(token)
        if link is not None:
            self._unclaimed.put(link.node, size)

    async def close(self, reason: str = "The hub is going down.") -> None:
        """Close every link; nodes come back by themselves."""
        for link in list(self._links.values()):
            link.socket.say(m.Bye(reason))
        await asyncio.gather(*(link.socket.close_after(GOING_AWAY, reason) for link in list(self._links.values())))
        self._verifiers.shutdown(wait=False)

    # --- one link, from its first frame to its last ------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one WebSocket (ASGI)."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        socket = LinkSocket(receive, send, self.traffic)
        address = (scope.get("client") or ("",))[0]
        try:
            greeted = await self._handshake.of(socket, address)
            link = await self._welcome(socket, greeted)
        except CrowdgridError as error:
            self.traffic.rejected += 1
            retry_ms = _RETRY_AFTER_MS if error.retryable else 0
            socket.say(m.Error(error.code, error.message, error.hint, True, retry_ms))
            await socket.close_after(PROTOCOL_ERROR, error.code)
            return
        try:
            await self._listen(link)
        except asyncio.CancelledError:
            if not socket.broken:
                raise
        finally:
            self._part(link)

    async def _welcome(self, socket: LinkSocket, greeted: Greeted) -> NodeLink:
        node = greeted.node
        self._sessions += 1
        link = NodeLink(node, self._sessions, socket)
        before = self._links.get(node.number)
        if before is not None:
            link.notes.update(before.notes)
        self._links[node.number] = link
        self._tokens[link.blob_token] = link
        try:
            known: Node = await self._keeper.ask(c.Connect(node, link.session, greeted.news))
        except CrowdgridError:
            self._part(link)
            raise
        socket.say(
            m.Welcome(
                version=min(greeted.hello.version, m.VERSION),
                node=did_of(node.key),
                name=node.name,
                grid=self._keeper.grid.grid_id,
                heartbeat_ms=limits.HEARTBEAT_SECONDS * 1000,
                lease_ms=limits.LEASE_SECONDS * 1000,
                trust=known.trust,
                blob_token=link.blob_token,
                owner=known.owner,
            )
        )
        return link

    async def _listen(self, link: NodeLink) -> None:
        while (frame := await link.socket.receive()) is not None:
            try:
                for message in codec.node_to_hub.decode(frame):
                    await self._take(link, message)
                    if type(message) is m.Bye:
                        return
            except Busy as error:
                link.socket.say(m.Hold(error.message, _RETRY_AFTER_MS * 4))
            except CrowdgridError as error:
                self.traffic.rejected += 1
                fatal = isinstance(error, BadInput)
                link.socket.say(m.Error(error.code, error.message, error.hint, fatal, _RETRY_AFTER_MS))
                if fatal:
                    await link.socket.close_after(PROTOCOL_ERROR, error.code)
                    return

    def _part(self, link: NodeLink) -> None:
        link.socket.closed = True
        self._tokens.pop(link.blob_token, None)
        if self._links.get(link.node) is link:
            del self._links[link.node]
        self._spawn(self._tell_parting(link))

    async def _tell_parting(self, link: NodeLink) -> None:
        """The engine must hear of it, or it would go on giving leases to a link that is gone."""
        while not self._keeper.problem:
            try:
                self._keeper.tell(c.Disconnect(link.node, link.session))
                return
            except Busy:
                await asyncio.sleep(_RETRY_AFTER_MS / 1000)

    # --- what nodes say ----------------------------------------------------------------------------

    async def _tell(self, link: NodeLink, command: c.Command) -> None:
        """Hand a command to the keeper; every so many of a link wait until they are handled. The queue is everybody's:
        one frame may hold a hundred thousand heartbeats, and must not fill it."""
        bulk = type(command) is c.Report
        link.told[bulk] += 1
        if link.told[bulk] < _COMMANDS:
            self._keeper.tell(command)
            return
        link.told[bulk] = 0
        handled = self._keeper.submit(command)
        await asyncio.wait([handled])
        if error := handled.exception():
            log.info("A %s was refused: %s", type(command).__name__, error)

    async def _take(self, link: NodeLink, message: m.NodeToHub | codec.Unknown) -> None:
        match message:
            case m.Report():
                await self._report(link, message)
            case m.Fetch():
                slots = min(max(message.slots, 0), limits.HELD_ASSIGNMENTS)
                await self._tell(link, c.Fetch(link.node, slots, message.milli_cpus, message.memory_bytes))
            case m.Heartbeat():
                await self._heartbeat(link, message)
            case m.Decline():
                keys = self._keys(message.assignments)
                await self._tell(link, c.Decline(link.node, keys, message.reason[:200]))
                self._forget(link, message.assignments)
            case m.Retract():
                for key in self._keys((message.assignment,)):
                    await self._tell(link, c.Retract(link.node, key, message.reason[:200]))
            case m.Remainder():
                for key in self._keys((message.assignment,)):
                    await self._tell(link, c.Remainder(link.node, key, message.at))
            case m.Progress() | m.Bye():
                pass
            case codec.Unknown():
                link.socket.say(m.Error("unknown_message", f"This hub does not know {message.tag!r}."))
            case _:
                link.socket.say(m.Error("bad_input", f"{type(message).__name__} does not belong here."))

    async def _heartbeat(self, link: NodeLink, message: m.Heartbeat) -> None:
        tokens = message.held[: limits.HELD_ASSIGNMENTS]
        keys = self._keeper.ids.assignment_numbers(tokens)
        await self._tell(link, c.Heartbeat(link.node, tuple(key for key in keys if key is not None)))
        link.socket.say(m.Beat(message.sent))
        link.adopted = {token: link.adopted[token] for token in tokens if token in link.adopted}
        known = link.notes.keys() | link.adopted.keys()
        unknown = [(token, key) for token, key in zip(tokens, keys) if key is not None and token not in known]
        if unknown and not link.adopting:
            link.adopting = True
            self._spawn(self._adopt(link, unknown))

    async def _adopt(self, link: NodeLink, unknown: Sequence[tuple[bytes, AssignmentKey]]) -> None:
        """Make the notes of assignments an earlier link or hub sent, so that their blobs may be read."""
        try:
            for token, key in unknown:
                note = await self._note(link, key)
                if note is not None and note.node == link.node and not link.socket.closed:
                    link.adopted[token] = note
        except CrowdgridError as error:
            log.info("What a node holds could not be looked up: %s", error)
        finally:
            link.adopting = False

    def _keys(self, tokens: Sequence[bytes]) -> tuple[AssignmentKey, ...]:
        return tuple(key for key in self._keeper.ids.assignment_numbers(tokens) if key is not None)

    def _forget(self, link: NodeLink, tokens: Sequence[bytes]) -> None:
        for token in tokens:
            link.notes.pop(token, None)
            link.adopted.pop(token, None)

    # --- reports --------------------------------------------------------------------------------------

    async def _report(self, link: NodeLink, report: m.Report) -> None:
        """Check a report (see `reports`) and hand it to the engine, whose verdicts answer it."""
        reports.check_shape(report)
        grid = self._keeper.grid.grid_id
        good = await asyncio.get_running_loop().run_in_executor(
            self._verifiers, signing.verify_leaves, link.key, grid, report.leaves, report.signature
        )
        if not good:  # before anything is looked up for it
            raise BadInput("The signature of a report is not this node's.")
        keys = self._keeper.ids.assignment_numbers([entry.assignment for entry in report.results])
        notes = [
            link.notes.get(entry.assignment) or link.adopted.get(entry.assignment) or await self._note(link, key)
            for entry, key in zip(report.results, keys, strict=True)
        ]
        for at in reports.unlike(grid, report, notes):
            if report.results[at].assignment in link.notes:
                raise BadInput("A result is not what was signed.", hint="Is the node's program up to date?")
            # Given out in an earlier life of this grid: restored from a backup, it gave the same number out again.
            log.warning("A node has a result of an assignment that is another one here; it is passed over.")
            notes[at] = None
        await self._check_blobs(link, report)
        known = [
            reports.reported(entry, place, key, note)
            for entry, place, key, note in zip(report.results, report.places, keys, notes, strict=True)
            if key is not None and note is not None
        ]
        strange = [entry.assignment for entry, note in zip(report.results, notes, strict=True) if note is None]
        if strange:
            link.socket.say(m.Acknowledge(tuple((token, Verdict.UNKNOWN) for token in strange)))
        if known:
            await self._tell(link, c.Report(link.node, tuple(known), report.leaves, report.signature))

    async def _check_blobs(self, link: NodeLink, report: m.Report) -> None:
        """A result may name only what has been put here; anything else could never be read. Raises BadInput."""
        for entry in report.results:
            if not entry.blob:
                continue
            size = await self._blobs.size(entry.blob)
            if size is None:
                raise BadInput("A result names a blob that was not put before it.")
            self._unclaimed.claim(link.node, size)

    async def _note(self, link: NodeLink, key: AssignmentKey | None) -> Note | None:
        if key is None:
            return None
        try:
            return await note_again(self._keeper.store, self._jobs, self._inputs, key, link.node)
        except NotFound:
            return None

    # --- what the engine says ----------------------------------------------------------------------------

    def _on_effects(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is e.JobChanged:
                self._jobs.changed(effect.job)  # type: ignore[union-attr, arg-type]
            elif kind is e.Assign:
                self._assign(effect)  # type: ignore[arg-type]
            elif kind is e.Acknowledge:
                self._acknowledge(effect)  # type: ignore[arg-type]
            elif kind is e.Withdraw:
                self._withdraw(effect)  # type: ignore[arg-type]
            elif kind is e.CloseLink:
                self._close(effect)  # type: ignore[arg-type]

    def _link(self, node: int, session: int = 0) -> NodeLink | None:
        link = self._links.get(node)
        return link if link is not None and (not session or link.session == session) else None

    def _acknowledge(self, effect: e.Acknowledge) -> None:
        link = self._link(effect.node)
        if link is None:
            return
        tokens = self._keeper.ids.assignments([key for key, _ in effect.verdicts])
        self._forget(link, tokens)
        verdicts = tuple((token, verdict) for token, (_, verdict) in zip(tokens, effect.verdicts, strict=True))
        link.socket.say(m.Acknowledge(verdicts))

    def _withdraw(self, effect: e.Withdraw) -> None:
        link = self._link(effect.node, effect.session)
        if link is not None:
            tokens = self._keeper.ids.assignments(effect.assignments)
            self._forget(link, tokens)  # a report that comes all the same is looked up
            link.socket.say(m.Cancel(tuple(tokens), effect.reason))

    def _close(self, effect: e.CloseLink) -> None:
        link = self._link(effect.node, effect.session)
        if link is not None:
            link.socket.say(m.Bye(effect.reason))
            self._spawn(link.socket.close_after(GOING_AWAY, effect.reason))

    def _on_reset(self, reason: str) -> None:
        for link in list(self._links.values()):
            link.socket.say(m.Error("unavailable", reason, "", True, _RETRY_AFTER_MS))
            self._spawn(link.socket.close_after(GOING_AWAY, "The hub starts over."))

    # --- leases ------------------------------------------------------------------------------------------

    def _assign(self, effect: e.Assign) -> None:
        link = self._link(effect.node, effect.session)
        if link is None:
            return  # gone between the plan and the commit; its leases run out or are sent again
        ready: list[tuple[Job, Task, Assignment, Input]] = []
        slow: list[tuple[Task, Assignment]] = []
        for task, assignment in effect.leases:
            job = self._jobs.known(task.job)
            given = self._inputs.quick(job, task) if job is not None else None
            if job is None or given is None:
                slow.append((task, assignment))
            else:
                ready.append((job, task, assignment, given))
        if ready:
            self._send(link, ready)
        if slow:
            self._spawn(self._assign_slowly(link, slow))

    async def _assign_slowly(self, link: NodeLink, leases: list[tuple[Task, Assignment]]) -> None:
        """Leases whose input has to be read first."""
        for task, assignment in leases:
            try:
                job = await self._jobs.find(task.job)
                given = await self._inputs.lease_input(job, task)
            except CrowdgridError as error:
                log.error("The input of a task could not be read: %s", error)
                self._cannot_send(link, assignment, f"The hub could not read its input: {error}")
                continue
            self._send(link, [(job, task, assignment, given)])

    def _cannot_send(self, link: NodeLink, assignment: Assignment, why: str) -> None:
        """The task goes back to the queue as if its node had failed, and is given up after some times."""
        broken = c.Reported(assignment.key, Outcome.NODE_ERROR, bytes(32), error=why)
        with suppress(Busy, Unavailable):  # then its lease runs out
            self._keeper.tell(c.Report(link.node, (broken,)))

    def _send(self, link: NodeLink, ready: list[tuple[Job, Task, Assignment, Input]]) -> None:
        tokens = self._keeper.ids.assignments([assignment.key for _, _, assignment, _ in ready])
        specs: dict[int, tuple[int, m.LeaseSpec]] = {}
        leases: list[m.Lease] = []
        size = 0
        for token, (job, task, assignment, given) in zip(tokens, ready, strict=True):
            weight = _weight(given)
            if weight > limits.FRAME_BYTES // 2:
                self._cannot_send(link, assignment, "Its input has too many parts for one message: use smaller pieces.")
                continue
            known = specs.get(job.number)
            if known is None:
                size += _SPEC_BYTES + sum(len(arg) * 4 for arg in job.spec.args)
                program_bytes = self._sizes.get(job.spec.program, 0)
                known = specs[job.number] = (len(specs), spec_of(job, self._keeper.ids.job(job.number), program_bytes))
            link.notes[token] = note_of(job, task, assignment, given)
            parent = self._parent(link, task)
            leases.append(m.Lease(token, known[0], task.start, task.stop, given, assignment.deadline_ms, parent))
            size += weight
            if size > limits.FRAME_BYTES // 4:
                link.socket.say(m.Assign(tuple(spec for _, spec in specs.values()), tuple(leases)))
                specs, leases, size = {}, [], 0
        if leases:
            link.socket.say(m.Assign(tuple(spec for _, spec in specs.values()), tuple(leases)))

    def _parent(self, link: NodeLink, task: Task) -> bytes:
        """The token of the assignment a `Remainder` ended, when this task is the part its node has done."""
        if task.parent < 0:
            return b""
        found = [token for token, note in link.notes.items() if note.key[:2] == (task.job, task.parent)]
        for token in found:
            del link.notes[token]
        return found[0] if found else b""

    def _spawn(self, coroutine: Any) -> None:
        work = asyncio.get_running_loop().create_task(coroutine)
        self._work.add(work)
        work.add_done_callback(self._work.discard)


def _weight(given: Input) -> int:
    """Bytes of a lease in a frame, roughly and not too few."""
    parts = sum(_PART_BYTES + len(part.data) for part in given.parts)
    return _LEASE_BYTES + parts + sum(len(argument) * 4 + 3 for tail in given.tails for argument in tail)
