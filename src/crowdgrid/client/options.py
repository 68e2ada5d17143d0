"""How the calls of a function are to be run: what `@function(...)`, `.options(...)` and Executor are told.

A frozen value, checked when it is made, that knows which job it asks for.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from crowdgrid import limits
from crowdgrid.client import quantities
from crowdgrid.core.model import Items
from crowdgrid.core.trust.consensus import CONSENSUS
from crowdgrid.errors import BadInput
from crowdgrid.protocol.messages import JobRequest

if TYPE_CHECKING:
    from crowdgrid.client.codec import Codec

Where: TypeAlias = str | Sequence[str]
CODECS: Final = ("auto", "msgpack", "pickle")
ANYWHERE: Final = "anywhere"
CALL_TARGET_MS: Final = 20  # calls one by one: short ones share a lease, a longer one never waits for another
EPHEMERAL_MS: Final = 3_600_000  # an anonymous job is kept this long after it ended


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a function asks of the grid.

    Attributes:
        cpus: cores one call takes. memory, output: limits of one call, bytes or like "512MB".
        timeout: seconds one call may take, or like "5m".
        where: "anywhere", "region:NAME", "label:NAME", or several of them.
        replicas: results of nodes of different owners that must agree before a call is answered; "auto": the first
            result is taken.
        error_bound: instead of a number of replicas, the chance of a wrong answer that is accepted, like 1e-6: as many
            nodes are asked as that takes. 0: not used. Either sends source, as pickles go to one owner's nodes only.
        priority: −100 to 100; higher goes first.
        codec: "msgpack" sends source and plain data; "pickle" sends any object, only to machines of your own; "auto"
            is the first, and the second where it must be and may be.
        target: seconds of work in one task of a map, where the grid chooses.
        piece: calls in one task of a map; 0 lets the grid choose.
        max_errors: failed calls after which a job stops; 0 never.

    Raises:
        BadInput: a value that cannot be used.
    """

    cpus: float = 1.0
    memory: int | str = limits.MEMORY_BYTES_DEFAULT
    output: int | str = limits.OUTPUT_BYTES_DEFAULT
    timeout: float | str = limits.TIMEOUT_MS_DEFAULT / 1000
    where: Where = ANYWHERE
    replicas: int | str = "auto"
    error_bound: float | None = None
    priority: int = 0
    codec: str = "auto"
    target: float | str = 1.0
    piece: int = 0
    max_errors: int = 0

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise BadInput(f"There is no codec {self.codec!r}.", hint=f"Use one of {', '.join(CODECS)}.")
        self._check_agreement()
        _places(self.where)
        quantities.size(self.memory)
        quantities.size(self.output)
        quantities.seconds(self.timeout)
        quantities.seconds(self.target)

    def _check_agreement(self) -> None:
        most = limits.OVERLAP_MAX // 2
        if self.replicas != "auto" and not (isinstance(self.replicas, int) and 1 <= self.replicas <= most):
            raise BadInput(f"replicas={self.replicas!r} is no number of results.", hint=f'Use 1 to {most}, or "auto".')
        bound: Any = self.error_bound  # what people write, which may be of any type
        if bound is not None and not (isinstance(bound, int | float) and limits.ERROR_BOUND_LEAST <= bound < 1):
            raise BadInput(
                f"error_bound={self.error_bound!r} is no chance of a wrong answer.",
                hint=f"Use {limits.ERROR_BOUND_LEAST:g} to below 1.",
            )
        if bound is not None and self.replicas not in ("auto", 1):
            raise BadInput("Replicas and an error bound are two ways to say when an answer stands.", hint="Give one.")
        if self.agreement:
            if self.codec == "pickle":
                raise BadInput(
                    "Pickles go to nodes of one owner only, and an owner has one vote.", hint='Use codec="msgpack".'
                )
            msgspec.structs.force_setattr(self, "codec", "msgpack")

    @property
    def agreement(self) -> dict[str, Any]:
        """Fields of the request that say when results agree; none when the first is taken."""
        if self.error_bound is not None:
            return {"consensus": "bounded_error", "error_bound": self.error_bound}
        if isinstance(self.replicas, int) and self.replicas > 1:
            return {"consensus": "majority", "overlap": 2 * self.replicas - 2}  # of which so many are a majority
        return {}

    def change(self, changes: dict[str, Any]) -> Options:
        """These options with some of them changed. Raises BadInput."""
        unknown = [name for name in changes if name not in self.__struct_fields__]
        if unknown:
            from difflib import get_close_matches

            close = get_close_matches(unknown[0], self.__struct_fields__, n=1)
            raise BadInput(
                f"There is no option {unknown[0]!r}.",
                hint=f"Did you mean {close[0]}=?" if close else f"There are {', '.join(self.__struct_fields__)}.",
            )
        return msgspec.structs.replace(self, **changes)

    def request(
        self, program: str, runtime: str, labels: Sequence[str], *, one_by_one: bool, **more: Any
    ) -> JobRequest:
        """The job these options ask for.

        Args:
            program: hex SHA-256. labels: the ones nodes need beside those in `where`.
            one_by_one: its calls come singly and somebody waits for each.
            more: further fields of the request.
        """
        region, wanted = _places(self.where)
        return JobRequest(
            program=program,
            split=Items(self.piece),
            runtime=runtime,
            timeout_ms=round(quantities.seconds(self.timeout) * 1000),
            memory_bytes=quantities.size(self.memory),
            output_bytes=quantities.size(self.output),
            milli_cpus=round(self.cpus * 1000),
            priority=self.priority,
            target_ms=CALL_TARGET_MS if one_by_one else round(quantities.seconds(self.target) * 1000),
            max_errors=self.max_errors or limits.JOB_ITEMS,
            labels=(*wanted, *labels),
            region=region,
            **self.agreement,
            **more,
        )

    def map_request(self, codec: Codec, *, name: str = "", key: str = "", kept: bool) -> JobRequest:
        """The job of a map with these options.

        Args:
            codec: how its calls are written.
            key: of who asks; one is made up otherwise, as the request may have to be said twice.
            kept: somebody may come back for it; otherwise it is soon forgotten once it has ended.
        """
        return self.request(
            "",  # its digest is known when it is sent
            codec.runtime,
            codec.labels,
            one_by_one=False,
            name=name,
            key=key or secrets.token_hex(16),
            keep_ms=0 if kept else EPHEMERAL_MS,
            allow_abandoned=True,
        )


def _places(where: Where) -> tuple[str, tuple[str, ...]]:
    """(region, labels) in `where`. Raises BadInput."""
    region, labels = "", []
    for word in [where] if isinstance(where, str) else where:
        kind, _, name = word.partition(":")
        if word == ANYWHERE:
            continue
        if kind == "region" and name and not region:
            region = name
        elif kind == "label" and name:
            labels.append(name)
        else:
            raise BadInput(f"{word!r} is no place.", hint='Write "anywhere", "region:NAME" or "label:NAME".')
    return region, tuple(labels)


_NEEDS: Final = {
    "overlap": ("majority", "trust_weighted"),
    "threshold": ("trust_weighted",),
    "error_bound": ("bounded_error",),
}
_USUAL: Final[dict[str, Any]] = {"overlap": 3, "threshold": 0.6, "error_bound": 1e-3}


def consensus_fields(consensus: str, **given: float | None) -> dict[str, Any]:
    """Fields of a request that say when results agree, with what is usual where nothing is `given` (overlap, threshold,
    error_bound).

    Raises:
        BadInput: something is given that this consensus does not look at: whoever gives it believes it holds.
    """
    for field, value in given.items():
        said_nothing = value is None or (field == "overlap" and value == 1)  # one node is what others ask, too
        if not said_nothing and consensus not in _NEEDS[field] and consensus in CONSENSUS:
            rules = " or ".join(f'"{rule}"' for rule in _NEEDS[field])
            raise BadInput(f'Consensus "{consensus}" does not look at {field}.', hint=f"Use consensus {rules} with it.")
    needed = {field: given.get(field) for field, rules in _NEEDS.items() if consensus in rules}
    return {"consensus": consensus} | {f: _USUAL[f] if value is None else value for f, value in needed.items()}
