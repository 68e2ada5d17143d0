"""The golden vectors, made once more from the description alone: hashlib, struct and an Ed25519 key."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid.protocol import codec
from crowdgrid.protocol.contract import vectors
from crowdgrid.protocol.contract.shapes import contract

DOCUMENT = msgspec.json.decode(msgspec.json.encode(vectors.document(contract())))
SIGNING = DOCUMENT["signing"]
DECODERS: dict[str, codec.FrameDecoder[Any]] = {
    "NodeToHub": codec.node_to_hub,
    "HubToNode": codec.hub_to_node,
    "ClientToHub": codec.client_to_hub,
    "HubToClient": codec.hub_to_client,
}


def meant(value: Any) -> Any:
    """The value a vector shows."""
    if isinstance(value, dict):
        match list(value.items()):
            case [("$bytes", text)]:
                return bytes.fromhex(text)
            case [("$int", text)]:
                return int(text)
            case [("$float", text)]:
                return float(text)
        return {key: meant(each) for key, each in value.items()}
    return [meant(each) for each in value] if isinstance(value, list) else value


def test_values_are_what_another_msgpack_makes_of_them() -> None:
    """An implementation of msgpack that is not ours agrees on every border, in both directions."""
    assert len(DOCUMENT["msgpack"]) > 50
    for vector in DOCUMENT["msgpack"]:
        value, data = meant(vector["value"]), bytes.fromhex(vector["hex"])
        assert msgpack.packb(value) == data
        assert msgpack.unpackb(data, strict_map_key=False) == value


def test_every_message_of_every_direction_has_its_frames() -> None:
    told = {(case["direction"], case["message"]) for case in DOCUMENT["messages"]}
    assert told == {(each.name, shape.name) for each in contract().directions for shape in each.messages}


@pytest.mark.parametrize(
    "case", DOCUMENT["messages"], ids=[f"{c['direction']}-{c['message']}-{c['case']}" for c in DOCUMENT["messages"]]
)
def test_a_frame_is_the_message_it_shows(case: Any) -> None:
    frame = bytes.fromhex(case["frame"])
    assert msgpack.unpackb(frame) == meant(case["value"])
    message: Any
    (message,) = DECODERS[case["direction"]].decode(frame)
    assert type(message).__name__ == case["message"]
    if case["case"] != "shortest":
        assert codec.encode([message]) == frame


def test_each_kind_of_split_is_opened_once() -> None:
    opened = [case["value"][0][2]["split"]["kind"] for case in DOCUMENT["messages"] if case["message"] == "Open"]
    assert set(opened) >= {"range", "items", "lines", "grid", "each_node"}


# --- what is signed -----------------------------------------------------------------------------


def raw(name: str) -> bytes:
    return bytes.fromhex(SIGNING[name])


def test_a_leaf_is_its_fields_in_fixed_bytes() -> None:
    for result in SIGNING["results"]:
        usage = [result["usage"][name] for name in ("cpu_ms", "wall_ms", "memory_bytes", "size")]
        leaf = b"".join(
            [
                b"crowdgrid-leaf-1",
                raw("grid"),
                *(bytes.fromhex(result[name]) for name in ("assignment", "program", "input")),
                bytes([result["outcome"]]),
                bytes.fromhex(result["output"]),
                *(number.to_bytes(8, "big") for number in usage),
            ]
        )
        assert len(leaf) == 177
        assert leaf.hex() == result["leaf"]
        assert sha256(b"\0" + leaf).hexdigest() == result["leaf_hash"]


def test_three_leaves_have_the_root_of_rfc_9162() -> None:
    one, two, three = (bytes.fromhex(result["leaf_hash"]) for result in SIGNING["results"])
    left = sha256(b"\1" + one + two).digest()
    assert sha256(b"\1" + left + three).digest() == raw("root")
    paths = [[bytes.fromhex(step) for step in result["path"]] for result in SIGNING["results"]]
    assert paths == [[two, three], [one, three], [left]]
    assert one + two + three == raw("leaves")


def test_what_is_signed_is_signed_by_the_key() -> None:
    key = Ed25519PrivateKey.from_private_bytes(raw("seed"))
    public = key.public_key()
    assert public.public_bytes_raw() == raw("public_key")
    assert raw("signed") == b"crowdgrid-root-1" + raw("grid") + raw("root") + (3).to_bytes(8, "big")
    public.verify(raw("signature"), raw("signed"))
    nonce = bytes.fromhex(SIGNING["proof"]["nonce"])
    signed = bytes.fromhex(SIGNING["proof"]["signed"])
    assert signed == b"crowdgrid-node-1" + raw("grid") + nonce + raw("public_key")
    public.verify(bytes.fromhex(SIGNING["proof"]["signature"]), signed)


# --- bytes inside messages ------------------------------------------------------------------------


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def test_a_chunk_is_version_count_ends_and_bytes() -> None:
    told = DOCUMENT["packing"]["chunk"]
    items = [bytes.fromhex(item) for item in told["items"]]
    ends = [sum(map(len, items[: n + 1])) for n in range(len(items))]
    assert told["hex"] == b"".join([b"\1", _u32(len(items)), *map(_u32, ends), *items]).hex()


def test_answers_and_tails_are_msgpack() -> None:
    packing = DOCUMENT["packing"]
    assert packing["answers"]["hex"] == (b"\1" + msgpack.packb(meant(packing["answers"]["answers"]))).hex()
    assert packing["tails"]["hex"] == msgpack.packb(packing["tails"]["tails"]).hex()


def test_an_input_digest_is_over_fixed_bytes() -> None:
    def name(blob: str) -> bytes:
        return b"\x20" + bytes.fromhex(blob) if blob else b"\0"

    def texts(args: list[str]) -> list[bytes]:
        return [_u32(len(args)), *(part for arg in args for part in (_u32(len(arg.encode())), arg.encode()))]

    for vector in DOCUMENT["packing"]["input_digests"]:
        tails, parts, joined, blob = meant(vector["input"])
        words = [b"crowdgrid input 1\0", bytes([joined]), _u32(len(tails))]
        words += [part for tail in tails for part in texts(tail)]
        words += [name(blob), _u32(len(parts))]
        for start, stop, data, named in parts:
            words += [struct.pack("<QQ", start, stop), _u32(len(data)), data, name(named)]
        words += texts(vector["args"]) if vector["args"] else []
        assert vector["digest"] == sha256(b"".join(words)).hexdigest()


def test_an_answer_digest_is_the_payloads_or_the_errors() -> None:
    right, wrong = DOCUMENT["packing"]["answer_digests"]
    assert right["digest"] == sha256(bytes.fromhex(right["payload"])).hexdigest()
    said = b"crowdgrid error 1\0" + struct.pack("<q", wrong["exit_code"]) + wrong["error"].encode()
    assert wrong["digest"] == sha256(said).hexdigest()
