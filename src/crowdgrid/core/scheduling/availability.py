"""Will a node still be here? What is expected of a session by its age.

Times on hosts of volunteers are far from exponential: who has been here for long stays long. They are
Weibull-distributed with shape 0.393 and scale 2.964 h (B. Javadi, D. Kondo, J.-M. Vincent, D. P. Anderson, "Discovering
statistical models of availability in large distributed systems: an empirical study of SETI@home", IEEE TPDS 22, 2011).
"""

from __future__ import annotations

from math import exp
from typing import Final

SHAPE: Final = 0.393
SCALE_S: Final = 2.964 * 3600.0


def stays(age_s: float, for_s: float) -> float:
    """The chance that a session of this age, s, lasts for so much longer, s."""
    return exp((max(age_s, 0.0) / SCALE_S) ** SHAPE - ((max(age_s, 0.0) + max(for_s, 0.0)) / SCALE_S) ** SHAPE)
