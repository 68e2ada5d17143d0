"""The messages' rules: array form, additive fields, one tag each."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from crowdgrid.protocol import messages as m

LINKS = {"node": (m.NodeToHub, m.HubToNode), "client": (m.ClientToHub, m.HubToClient)}


def kinds(union: Any) -> list[type[Any]]:
    return list(get_args(union))


@pytest.mark.parametrize("union", [union for pair in LINKS.values() for union in pair])
def test_every_message_of_a_direction_has_a_tag_of_its_own(union: Any) -> None:
    tags = [kind.__struct_config__.tag for kind in kinds(union)]
    assert len(tags) == len(set(tags))
    assert all(tag == tag.lower() and tag.replace("_", "").isalpha() for tag in tags)


@pytest.mark.parametrize("union", [union for pair in LINKS.values() for union in pair])
def test_messages_are_arrays_so_that_names_of_fields_do_not_travel(union: Any) -> None:
    assert all(kind.__struct_config__.array_like and kind.__struct_config__.frozen for kind in kinds(union))


def test_fields_that_may_be_left_out_come_last() -> None:
    """An older writer leaves fields out at the end: so none without a default may follow one with."""
    for pair in LINKS.values():
        for union in pair:
            for kind in kinds(union):
                optional = [not field.required for field in msgspec.structs.fields(kind)]
                assert optional == sorted(optional), kind


# Where each field stands: a message that went out once cannot have its fields moved. Add at the end only.
PUBLISHED = {
    m.Hello: "version key name invitation runtimes labels region milli_cpus memory_bytes speed inventory "
    "benchmarks features software trusts",
    m.Proof: "signature",
    m.Heartbeat: "held sent load",
    m.Fetch: "slots milli_cpus memory_bytes",
    m.Report: "results places leaves signature",
    m.ResultEntry: "assignment outcome digest payload blob size error errors cpu_ms wall_ms memory_bytes",
    m.Decline: "assignments reason",
    m.Remainder: "assignment at",
    m.Challenge: "nonce grid",
    m.Welcome: "version node name grid heartbeat_ms lease_ms trust features blob_token owner",
    m.LeaseSpec: "job program program_bytes runtime args timeout_ms memory_bytes output_bytes milli_cpus split "
    "label owner group",
    m.Lease: "assignment spec start stop input deadline_ms parent",
    m.Assign: "specs leases",
    m.Acknowledge: "verdicts",
}


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_fields_stay_in_their_place(kind: Any) -> None:
    published = PUBLISHED[kind].split()
    assert [field.name for field in msgspec.structs.fields(kind)][: len(published)] == published
