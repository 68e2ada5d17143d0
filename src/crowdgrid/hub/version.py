"""Which version of crowdgrid this is."""

from __future__ import annotations

from functools import cache


@cache
def version() -> str:
    """As installed. Looked up when asked for: reading package metadata takes longer than starting an endpoint."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("crowdgrid")
    except PackageNotFoundError:  # run from a copy that was never installed
        return "0"
