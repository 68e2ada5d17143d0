"""What is said when nothing of a job begins: the reasons, and what helps against them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from crowdgrid.client import stuck
from crowdgrid.client.codec import python_label

LABEL = f"It lacks the label {python_label()}."
OWNER = "It runs nobody's Python."
SEND_SOURCE = 'or send source: codec="msgpack".'
ASK_OWNER = "crowdgrid agent python."


class Why:
    """A hub's answer to why."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons

    async def get(self, path: str) -> dict[str, Any]:
        return {"summary": "No connected node may run it.", "rejected": [{"reasons": self.reasons}]}


@pytest.mark.parametrize(
    ("runtime", "reasons", "helps"),
    [
        ("python-pickle", (LABEL,), (True, False)),
        ("python-pickle", (OWNER, LABEL), (True, True)),
        ("python-pickle", ("It lacks the label gpu.",), (False, True)),
        ("python", (LABEL,), (False, True)),
        ("python", (OWNER,), (False, True)),
        ("python", (), (False, False)),
        ("wasm", (LABEL,), (False, False)),
    ],
)
def test_what_is_advised_helps_against_the_reasons(
    runtime: str,
    reasons: tuple[str, ...],
    helps: tuple[bool, bool],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(stuck, "LOOK_AFTER_SECONDS", 0)
    counts = SimpleNamespace(units=1, units_done=0, in_progress=0)
    info = SimpleNamespace(counts=counts, spec=SimpleNamespace(runtime=runtime), name="mine")
    job: Any = SimpleNamespace(ended=False, failure=None, id="j1", info=info)
    rest: Any = Why(*reasons)
    asyncio.run(stuck.tell_if_stuck(rest, job))
    assert "No connected node may run it." in caplog.text
    assert all(reason in caplog.text for reason in reasons)
    assert (SEND_SOURCE in caplog.text, ASK_OWNER in caplog.text) == helps
