"""The hub's parts, put together once by `app.build`; what an endpoint's handler may reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from crowdgrid.blobs import Blobs
    from crowdgrid.hub.access import Access
    from crowdgrid.hub.happenings import Happenings
    from crowdgrid.hub.inputs import Inputs
    from crowdgrid.hub.keeper import Keeper
    from crowdgrid.hub.links.reading import NodeNames
    from crowdgrid.hub.metrics import Metrics
    from crowdgrid.hub.presence import Presence
    from crowdgrid.hub.programs import Programs
    from crowdgrid.hub.reduction import Reduction
    from crowdgrid.hub.submission import Submissions
    from crowdgrid.settings import HubSettings


class BlobLeases(Protocol):
    """Which blobs the node behind a session's token may touch, by what is leased to it (`links.nodes`)."""

    def may_read(self, token: str, digest: str) -> bool:
        """Whether an assignment it holds names this blob."""
        ...

    def may_write(self, token: str) -> int:
        """How many bytes of results it may store now; 0 for none."""
        ...

    def wrote(self, token: str, size: int) -> None:
        """It stored so many bytes that were not here before."""
        ...


@dataclass(frozen=True, slots=True)
class Hub:
    """Everything a request may need."""

    settings: HubSettings
    keeper: Keeper
    blobs: Blobs
    access: Access
    inputs: Inputs
    submissions: Submissions
    programs: Programs
    reduction: Reduction
    happenings: Happenings
    presence: Presence
    metrics: Metrics
    leases: BlobLeases
    names: NodeNames
