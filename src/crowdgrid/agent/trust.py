"""Whose Python this machine runs: what its owner said, and the "no" to everything else.

Python programs run outside any sandbox (`core.unsandboxed`), so the agent does not leave it to the hub whom they come
from. The hub is told what the owner allows, so that it need not ask in vain; but each lease is looked at here again,
and one that should not have come is declined with the reason, its program not even fetched.

What a hub says of a job's owner is all an agent has: to name anybody is to trust the hub to tell the truth about it.
So where somebody on the way could speak for the hub, nobody may be named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from crowdgrid import limits
from crowdgrid.agent.settings import AgentSettings, HubAddress, hub_address
from crowdgrid.core import unsandboxed
from crowdgrid.core.model import PICKLED, UNSANDBOXED
from crowdgrid.errors import BadInput, NotAllowed
from crowdgrid.protocol.messages import LeaseSpec
from crowdgrid.settings import is_loopback

NOBODY: Final = "nobody"
PYTHON: Final = "python"
LABEL: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""What every agent is labelled with: pickles are read by the minor version of Python that wrote them only."""


def words(given: Sequence[str]) -> tuple[str, ...]:
    """What the owner said, each word once; `nobody` alone, or nothing, is nobody.

    Raises:
        BadInput: what is said makes no sense.
    """
    found = tuple(dict.fromkeys(given))
    if NOBODY in found and len(found) > 1:
        raise BadInput("`nobody` and somebody exclude each other.", hint="Name those whose Python may run, or nobody.")
    if len(found) > limits.TRUSTED:
        raise BadInput(f"At most {limits.TRUSTED} can be named.", hint="Use a group, or `everyone`.")
    for word in found:
        if not word or word != word.strip() or len(word) > limits.NAME_CHARS or not word.isprintable():
            raise BadInput(
                f"{word[:80]!r} is nobody whose Python could run.",
                hint="Say own, the name of an owner, group:NAME, everyone or nobody.",
            )
        if word == unsandboxed.GROUP:
            raise BadInput("A group has a name.", hint="Write it like group:lab.")
    return () if found == (NOBODY,) else found


def checked(settings: AgentSettings) -> AgentSettings:
    """The settings of a start, with what was said of Python in its plain form.

    Raises:
        BadInput: it makes no sense. NotAllowed: nobody may be trusted over this way.
    """
    trusts = words(settings.python or ())
    check_way(trusts, hub_address(settings.hub))
    if not trusts and any(name in UNSANDBOXED for name in settings.runtimes):
        raise BadInput("Python runs for nobody here, so it need not be named.", hint="Say for whom: --python own.")
    return msgspec.structs.replace(settings, python=trusts)


def check_way(trusts: Sequence[str], hub: HubAddress) -> None:
    """Refuse to trust anybody where what the hub says could be somebody else's word. Raises NotAllowed."""
    if trusts and not hub.tls and not is_loopback(hub.host):
        raise NotAllowed(
            f"Python will not run for anybody over {hub.shown}: without TLS, whoever is on the way could send some.",
            hint="Give the hub TLS and its https:// address, or say --python nobody.",
        )


def runtimes(trusts: Sequence[str]) -> tuple[str, ...]:
    """The runtimes a machine has for those it trusts; none for nobody."""
    if not trusts:
        return ()
    return (PYTHON, PICKLED) if unsandboxed.OWN in trusts else (PYTHON,)


def objection(spec: LeaseSpec, trusts: Sequence[str], owner: str) -> str:
    """Why leases of `spec` may not run here, "" when they may: one sentence for whoever asks why.

    Args:
        trusts: what the owner said, as words of `core.unsandboxed`.
        owner: this node's owner as the hub calls them, "" not known.
    """
    return unsandboxed.objection(spec.runtime, trusts, owner, spec.owner, spec.group)
