"""What a hub has decided about trust, and about late tasks: the same for all its jobs."""

from __future__ import annotations

from typing import Final

import msgspec

from crowdgrid import limits


class Policy(msgspec.Struct, frozen=True):
    """See the module.

    Attributes:
        trust_least, trust_most: bounds of the trust index. trust_up, trust_down: what a node gains for a vote that
            agrees with an accepted answer, and loses for one that does not.
        trust_from: "steps", or "posterior": the index follows from the chance that the node is wrong.
        absence_days: after which half of what is known of a node that was away is left; 0 all of it.
        audit_rate: the share of tasks, in [0, 1], that are given to a second node although the first may stand alone;
            which ones is drawn with the grid's key, so that nobody else can tell.
        closing_audits: of the answers each node gave alone since others last agreed with one of its own, so many of the
            last are given to a second node before a job is complete. closing_share: of the job's tasks at most, about;
            in a job of few tasks which ones is drawn.
        canary_rate: the share of a node's tasks that are canaries, see `canaries`; twenty times as many while it is on
            probation.
        speculate: late tasks at a job's end are given to one more node, see `scheduling.speculation`.
        owners_vote_once: two votes on a task never come from nodes of one owner.
        blocks_vote_once: nor from nodes whose addresses are in one block, see `ids.block_of`.
        probation: judged votes after which a node's own history counts; before, it is taken for a stranger.
        stranger_doubt: the least chance of being wrong that such a node is believed to have.
    """

    trust_least: float = limits.TRUST_LEAST
    trust_most: float = limits.TRUST_MOST
    trust_up: float = 0.1
    trust_down: float = 0.5
    trust_from: str = "steps"
    absence_days: float = 180.0
    audit_rate: float = 0.03
    closing_audits: int = 3
    closing_share: float = 0.05
    canary_rate: float = 0.01
    speculate: bool = True
    owners_vote_once: bool = True
    blocks_vote_once: bool = False
    probation: int = 5
    stranger_doubt: float = 0.05


POLICY: Final = Policy()
"""A new hub's."""
