"""Numbers as people write them: sizes, durations and large integers."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from crowdgrid.errors import BadInput

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|min|h|d)?", re.IGNORECASE)
_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_POWERS: Final = " kmgt"


def size(value: int | str) -> int:
    """Bytes in `512MB`, `4GiB`, `64k` or a plain number. Raises BadInput."""
    if isinstance(value, int):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise BadInput(f"{value!r} is no size.", hint="Write it like 512MB or 4GiB.")
    power = _POWERS.index(found[2].lower() or " ")
    return int(Decimal(found[1]) * (1024 if found[3] else 1000) ** power)


def seconds(value: float | str) -> float:
    """Seconds in `90`, `1.5s`, `250ms`, `2m`, `1h`. Raises BadInput."""
    if isinstance(value, int | float):
        return float(value)
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise BadInput(f"{value!r} is no duration.", hint="Write seconds, or like 250ms, 2m, 1h.")
    return float(found[1]) * _SECONDS[(found[2] or "").lower()]


def integer(text: str) -> int:
    """The integer in `1000000`, `1_000_000`, `1e9` or `10**10`. Raises BadInput."""
    plain = text.strip().replace("_", "").replace(",", "")
    base, power, exponent = plain.partition("**")
    try:
        if not power:
            return _whole(plain)
        if not 0 <= int(exponent) <= 100:  # before the power is computed: 9**9**9 would never end
            raise ValueError(exponent)
        number: int = int(base) ** int(exponent)
        return number
    except (ValueError, InvalidOperation, OverflowError):
        raise BadInput(f"{text!r} is no integer.", hint="Write it like 1000000, 1_000_000, 1e6 or 10**6.") from None


def _whole(text: str) -> int:
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > 100 or number != number.to_integral_value():
        raise ValueError(text)
    return int(number)
