"""Pages: every list is cut on the server, and says how to go on.

A page has `next`, the cursor to give back for what follows; it is absent on the last page. A page is never counted:
totals are told only where a counter knows them.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from crowdgrid import limits

Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=limits.PAGE_ROWS, description="Rows at most in the page.")]
Cursor: TypeAlias = Annotated[
    int, msgspec.Meta(ge=-1, le=(1 << 53) - 1, description="`next` of the page before; leave it out at first.")
]
DEFAULT = limits.PAGE_ROWS_DEFAULT


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page, by ordinal."""

    limit: Limit = DEFAULT
    after: Cursor = -1
