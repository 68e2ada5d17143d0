"""The owner's hand: a real socket, for this user only, that answers in sentences and harms nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from crowdgrid.agent import consent
from crowdgrid.agent.consent import Action
from crowdgrid.agent.control import LINE_BYTES, SOCKET_NAME, Control, Verb, ask
from crowdgrid.agent.duty import FILE_NAME, Duty
from crowdgrid.errors import BadInput, Busy, Unavailable


def refuse() -> dict[str, Any]:
    raise Busy("Not now.", hint="Later.")


def pause(seconds: int = 0) -> dict[str, Any]:
    return {"paused": seconds}


VERBS: dict[str, Verb] = {"status": lambda: {"running": 1}, "pause": pause, "refuse": refuse}


async def served(folder: Path, *questions: Any) -> list[Any]:
    """Ask a control on `folder` questions, each (verb, arguments) or raw bytes; errors come back as they are."""
    control = Control(folder, VERBS)
    await control.start()
    answers: list[Any] = []
    try:
        for question in questions:
            try:
                if isinstance(question, bytes):
                    answers.append(await asyncio.to_thread(raw, folder, question))
                else:
                    answers.append(await asyncio.to_thread(ask, folder, question[0], **question[1]))
            except (Unavailable, BadInput, Busy) as error:
                answers.append(error)
    finally:
        await control.close()
    return answers


def raw(folder: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(folder / SOCKET_NAME))
        try:
            sock.sendall(line)
            return sock.recv(65536)
        except ConnectionError:
            return b""


def test_verbs_are_done_and_answered(tmp_path: Path) -> None:
    assert asyncio.run(served(tmp_path, ("status", {}), ("pause", {"seconds": 5}))) == [{"running": 1}, {"paused": 5}]


def test_a_refusal_arrives_as_the_same_error(tmp_path: Path) -> None:
    (error,) = asyncio.run(served(tmp_path, ("refuse", {})))
    assert isinstance(error, Busy)
    assert (error.message, error.hint) == ("Not now.", "Later.")


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"verb": "fly"}\n',
        b'{"verb": 3}\n',
        b'{"verb": "status", "x": 1}\n',
        b"\xff\n",
    ],
)
def test_nonsense_is_answered_with_a_sentence_and_the_next_line_counts(tmp_path: Path, line: bytes) -> None:
    answer, status = asyncio.run(served(tmp_path, line, ("status", {})))
    assert json.loads(answer)["code"] == "bad_input"
    assert status == {"running": 1}


def test_a_line_without_end_is_cut_off(tmp_path: Path) -> None:
    answer, status = asyncio.run(served(tmp_path, b"x" * (LINE_BYTES * 4), ("status", {})))
    assert answer == b""
    assert status == {"running": 1}


def test_the_socket_is_for_this_user_only_and_gone_at_the_end(tmp_path: Path) -> None:
    async def play() -> int:
        control = Control(tmp_path, VERBS)
        await control.start()
        mode = stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode)
        await control.close()
        return mode

    assert asyncio.run(play()) == 0o600
    assert not (tmp_path / SOCKET_NAME).exists()


def test_a_socket_left_by_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET_NAME))
    assert asyncio.run(served(tmp_path, ("status", {}))) == [{"running": 1}]


def test_a_folder_with_a_very_long_name_can_be_reached(tmp_path: Path) -> None:
    """A socket's address has 108 bytes; a person's folder may have more."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    assert asyncio.run(served(folder, ("status", {}))) == [{"running": 1}]


def test_without_an_agent_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No agent runs"):
        ask(tmp_path, "status")


# --- the limits behind it --------------------------------------------------------------------


class Told:
    """What a duty tells the agent."""

    def __init__(self, folder: Path, no_limits: bool = False) -> None:
        self.permits: list[Any] = []
        self.lent: list[tuple[float, int]] = []
        self.duty = Duty(
            folder,
            no_limits,
            self.permits.append,
            lambda share, memory: self.lent.append((share, memory)),
            clock=lambda: 0.0,
        )


def facts(**changed: Any) -> consent.Facts:
    return consent.Facts(**({"wall": 0.0, "minute": 0} | changed))


def test_limits_are_kept_and_count_after_a_restart(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.duty.change(cpu_share=0.5, wish="finish_current", hours=[[0, 60]])
    assert told.lent == [(0.5, 0)]
    again = Told(tmp_path)
    assert again.duty.limits.cpu_share == 0.5
    again.duty.judge(facts(minute=30))
    assert again.permits[-1].action is Action.FINISH_CURRENT
    assert again.permits[-1].why == ("Its owner paused it.",)


@pytest.mark.parametrize("wrong", [{"cpu_share": 7}, {"cpu_share": "half"}, {"unknown": 1}, {"hours": [[1]]}])
def test_limits_that_are_none_are_refused_and_change_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    told = Told(tmp_path)
    with pytest.raises(BadInput):
        told.duty.change(**wrong)
    assert told.duty.limits == consent.OwnerLimits()
    assert not (tmp_path / FILE_NAME).exists()


def test_limits_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    """To guess what an owner consented to would be no consent."""
    (tmp_path / FILE_NAME).write_text("{broken")
    with pytest.raises(BadInput, match=r"limits\.json"):
        Told(tmp_path)
    (tmp_path / FILE_NAME).write_text('{"cpu_share": 9}')
    with pytest.raises(BadInput):
        Told(tmp_path)


def test_a_machine_made_for_this_does_not_ask_for_mains(tmp_path: Path) -> None:
    bound, free = Told(tmp_path), Told(tmp_path, no_limits=True)
    for told in (bound, free):
        told.duty._clock = lambda: 0.0
        told.duty.judge(facts(on_mains=False, battery=5.0))
    assert bound.permits[-1].action is Action.STOP_NOW
    assert free.permits[-1].action is Action.RUN


def test_a_change_counts_at_once(tmp_path: Path) -> None:
    async def play() -> None:
        told = Told(tmp_path)

        class Reader:
            def read(self) -> consent.Facts:
                return facts(on_mains=True)

        watch = asyncio.create_task(told.duty.watch(Reader()))
        while not told.permits:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        told.duty.change(wish="stop_now")
        async with asyncio.timeout(1.5):  # well before the next round
            while told.permits[-1].action is not Action.STOP_NOW:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        watch.cancel()

    asyncio.run(play())
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
