"""What every measurement is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """How thorough to be. `quick`: a look in two minutes rather than figures worth keeping."""

    quick: bool = False

    def of(self, full: T, quick: T) -> T:
        """The one that is meant."""
        return quick if self.quick else full
