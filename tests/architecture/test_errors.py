"""The error tree drawn in `crowdgrid.errors` is the error tree."""

from __future__ import annotations

import re

from crowdgrid import errors


def _drawn() -> list[tuple[int, str, int]]:
    """(depth, name, HTTP status) of each line of the drawing; the root's status is not drawn."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    rows = []
    for line in drawing.splitlines():
        found = re.fullmatch(r"    (?P<branch>[│├└─ ]*)(?P<name>\w+)(?P<rest>.*)", line)
        assert found, f"not a line of the tree: {line!r}"
        status = re.search(r"(\d{3})$", found["rest"].rstrip())
        rows.append((len(found["branch"]) // 4, found["name"], int(status[1]) if status else 500))
    return rows


def _real(error: type[errors.CrowdgridError], depth: int = 0) -> list[tuple[int, str, int]]:
    rows = [(depth, error.__name__, error.http_status)]
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            rows += _real(child, depth + 1)
    return rows


def test_the_drawn_tree_is_the_tree() -> None:
    """People read the drawing to learn what to catch; it must not lie about parents or HTTP statuses."""
    assert _drawn() == _real(errors.CrowdgridError)


def test_codes_are_unique_and_stable_words() -> None:
    """Programs test `code`: two errors with one code could not be told apart on the far side of a link."""
    codes: dict[str, str] = {}
    todo: list[type[errors.CrowdgridError]] = [errors.CrowdgridError]
    while todo:
        error = todo.pop()
        assert re.fullmatch(r"[a-z_]+", error.code), error
        assert codes.setdefault(error.code, error.__name__) == error.__name__
        assert type(errors.from_code(error.code, "…")) is error
        todo += error.__subclasses__()
