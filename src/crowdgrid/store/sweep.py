"""Removing an ended job's rows, a few with each commit.

Dropping a job takes its own row away at once and notes its number in `dropped`; the millions of rows below it
go in steps of `STEP` keys, each inside the transaction of some later commit. So no commit is ever held up, a
`kill -9` resumes where it stopped, and no second thread writes. Nobody sees rows of a dropped job meanwhile.
"""

from __future__ import annotations

from typing import Final

STEP: Final = 500
"""Ordinals (or units, for chunks) removed with one commit."""

SWEPT: Final = ("assignment", "task", "chunk", "partial")
"""Tables with rows below a job; statements `first_X` and `sweep_X` of each are in `WRITES`."""
