"""Asking the store for what has left memory: effect `Recall`, answered by the command `Recalled`.

Who asks says what to do with the answer. An answer is only as fresh as its reading: what was read may have moved on by
the time it is heard, and whoever goes on with it has to know what cannot have (see `reopening`).
"""

from __future__ import annotations

from collections.abc import Callable

from crowdgrid import limits
from crowdgrid.core.commands import Recalled
from crowdgrid.core.effects import Recall
from crowdgrid.core.state import State


def ask(
    state: State,
    query: str,
    key: tuple[int, ...],
    then: Callable[[State, Recalled], None],
    cursor: tuple[int, ...] = (),
) -> int:
    """Have something read back; `then` goes on with the answer. Returns the question's number."""
    state.last_recall += 1
    question = Recall(state.last_recall, query, key, cursor, limits.RECALL_ROWS)
    state.recalls[state.last_recall] = (state.now, question, then)
    state.emit(question)
    return state.last_recall


def ask_again(state: State) -> None:
    """Ask anew what was asked long ago: a read that failed must not leave a node without its verdict, or a retry
    half done. Of two answers to one question the first is heard."""
    while state.recalls:
        number, (asked_at, question, then) = next(iter(state.recalls.items()))
        if state.now - asked_at < limits.RECALL_AGAIN_MS:
            return
        del state.recalls[number]
        state.recalls[number] = (state.now, question, then)
        state.emit(question)


def hear(state: State, command: Recalled) -> None:
    """Go on with what waited for these rows."""
    waiting = state.recalls.pop(command.recall, None)
    if waiting is not None:
        waiting[2](state, command)
