"""Whose programs a node runs outside any sandbox: one rule, for the engine that plans and the agent that obeys nobody.

A runtime of `model.UNSANDBOXED` is a process of the machine's own Python, which may do whatever the agent's user may.
So a node runs such programs only for those its owner named: the words of `Node.trusts`. The engine gives it no
others, and the agent asks the same question again of each lease (`agent/trust.py`), since what a hub says must not
widen what the owner allowed.

- `own`: jobs of the node's own owner. `everyone`: jobs of anybody on the grid.
- `group:NAME`: jobs submitted to that group. Any other word is an owner's name.
- Pickled functions run where both sides trust each other, and nowhere else: only jobs of the node's own owner, and
  only if `own` is among the words; `everyone` does not stand for it.

Invariants: no word, no Python. A job whose owner is not known is nobody's, and somebody who is called like one of the
words is not meant by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crowdgrid.core.model import PICKLED, UNSANDBOXED

OWN: Final = "own"
EVERYONE: Final = "everyone"
GROUP: Final = "group:"

_NOBODY: Final = "It runs nobody's Python."
_WHOSE: Final = "It is not told whose job this is, and without that it runs no Python."
_STRANGER: Final = "Its owner has not said that Python of this job's owner may run there."
_PICKLED: Final = "It runs pickled functions of its own owner only."
_NOT_OWN: Final = "It runs no pickled functions: its owner has not said that Python of their own may run there."


def admits(runtime: str, trusts: Sequence[str], node_owner: str, owner: str, group: str) -> bool:
    """Whether a node that trusts `trusts` runs `runtime` for a job of `owner`, submitted to `group` ("" for none)."""
    if runtime not in UNSANDBOXED:
        return True
    if not owner or not trusts:
        return False
    own = OWN in trusts and owner == node_owner
    if own or runtime == PICKLED:
        return own
    if EVERYONE in trusts or (group and f"{GROUP}{group}" in trusts):
        return True
    return owner in trusts and not is_word(owner)


def objection(runtime: str, trusts: Sequence[str], node_owner: str, owner: str, group: str) -> str:
    """Why not, in one sentence that names nobody; "" when `admits` says yes."""
    if admits(runtime, trusts, node_owner, owner, group):
        return ""
    if not trusts:
        return _NOBODY
    if not owner:
        return _WHOSE
    if runtime == PICKLED:
        return _NOT_OWN if owner == node_owner else _PICKLED
    return _STRANGER


def is_word(name: str) -> bool:
    """Whether `name` means something else than the owner who is called so."""
    return name in (OWN, EVERYONE) or name.startswith(GROUP)


def described(trusts: Sequence[str], owner: str = "") -> str:
    """What a node refuses and what not, in sentences for its owner.

    `owner`: who that is on the grid, where it is known. Who lends a machine with somebody else's invitation lends it as
    that somebody's, and may not have meant them by `own`.
    """
    if not trusts:
        return _NOBODY
    if EVERYONE in trusts:
        whose = "everyone"
    else:
        whose = ", ".join(_called(word) for word in trusts)
    pickled = "also pickled functions of its own owner" if OWN in trusts else "but no pickled functions"
    said = f"Outside any sandbox it runs Python of {whose}, {pickled}."
    return f"{said} Its owner on this grid is {owner}." if owner and OWN in trusts else said


def _called(word: str) -> str:
    if word == OWN:
        return "its own owner"
    # Until hubs check who belongs to a group, its name is all it takes.
    return f"whoever names the group {word.removeprefix(GROUP)}" if word.startswith(GROUP) else word
