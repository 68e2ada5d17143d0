"""Golden vectors: bytes another implementation has to produce and to understand, made by this one.

Three kinds. `msgpack` and `messages`: values and the frames they travel as. `packing`: bytes inside messages.
`signing`: everything a node hashes or signs, step by step, with a fixed key. In values, what JSON cannot say stands as
`{"$bytes": hex}`, `{"$int": decimal}` (beyond 2⁵³) and `{"$float": decimal}` (a float that is a whole number).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crowdgrid.core.model import Outcome
from crowdgrid.ids import did_of
from crowdgrid.protocol import codec, packing, signing
from crowdgrid.protocol.contract import samples
from crowdgrid.protocol.contract.shapes import Contract, Direction, Shape
from crowdgrid.protocol.packing import Answer, Input, Part

SAFE: Final = 1 << 53  # whole numbers a double holds exactly
SEED: Final = bytes(range(32))  # of the key; never use it for anything else
GRID: Final = bytes(range(16, 32))
NONCE: Final = bytes(range(64, 96))

# Where msgpack changes its form: each length and each width of a number on both sides of a border.
_BORDERS: Final[tuple[Any, ...]] = (
    None, False, True, 0, 1, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, SAFE, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, -1, -32, -33, -128, -129, -32_768, -32_769, -(1 << 31), -(1 << 31) - 1, -SAFE, -(1 << 63), 0.5, -2.25,
    1.0, -0.0, 1e300, "", "héllo", "x" * 31, "x" * 32, "x" * 255, "x" * 256, b"", b"\0\xff", b"x" * 255, b"x" * 256, [], [[]],
    [0] * 15, [0] * 16, {}, {"a": {"b": []}}, {f"k{n:02}": n for n in range(15)}, {f"k{n:02}": n for n in range(16)},
)  # fmt: skip


def document(contract: Contract) -> dict[str, Any]:
    """All vectors, ready for JSON."""
    return {
        "about": "Golden vectors of crowdgrid's links; docs/protocol/index.md says how to read them.",
        "msgpack": [{"value": shown(value), "hex": msgspec.msgpack.encode(value).hex()} for value in _BORDERS],
        "messages": [case for direction in contract.directions for case in _messages(direction)],
        "packing": _packing(),
        "signing": _signing(),
    }


def shown(value: Any) -> Any:
    """A decoded value as JSON can say it."""
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case bool():
            return value
        case int():
            return value if -SAFE < value < SAFE else {"$int": str(value)}
        case float():
            return {"$float": repr(value)} if value.is_integer() else value
        case list() | tuple():
            return [shown(each) for each in value]
        case dict():
            return {key: shown(each) for key, each in value.items()}
        case _:
            return value


# --- frames ----------------------------------------------------------------------------------


def _messages(direction: Direction) -> Iterator[dict[str, Any]]:
    """Each message with all its fields, and as short as a sender may make it."""
    for shape in direction.messages:
        for number, message in enumerate(samples.each(shape)):
            frame = codec.encode([message])  # type: ignore[list-item]
            yield _case(direction, shape, "full" if not number else f"full, choice {number + 1}", frame)
        if any(not field.required for field in shape.fields):
            yield _case(direction, shape, "shortest", msgspec.msgpack.encode([_shortest(shape)]))


def _shortest(shape: Shape) -> list[Any]:
    """The message without the fields that have a default: what an older sender leaves out."""
    whole: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(samples.full(shape)))
    return whole[: 1 + sum(field.required for field in shape.fields)]


def _case(direction: Direction, shape: Shape, case: str, frame: bytes) -> dict[str, Any]:
    value = shown(msgspec.msgpack.decode(frame))
    return {"direction": direction.name, "message": shape.name, "case": case, "frame": frame.hex(), "value": value}


# --- bytes inside messages ---------------------------------------------------------------------


def _packing() -> dict[str, Any]:
    items = [b"one", b"", b"three"]
    answers = [Answer(True, b"42"), Answer(False, error="It exited with 3.")]
    tails = (("0", "10"), ("10", "20"))
    inputs = [
        (Input(), ()),
        (Input(tails=tails), ("--fast",)),
        (Input(parts=(Part(0, 3, packing.pack_chunk(items)),)), ()),
        (Input(parts=(Part(5, 9, blob=sha256(b"chunk").hexdigest()),), joined=True), ()),
        (Input(tails_blob=sha256(b"tails").hexdigest()), ("a", "é")),
    ]
    return {
        "chunk": {"items": [item.hex() for item in items], "hex": packing.pack_chunk(items).hex()},
        "answers": {
            "answers": [shown(msgspec.to_builtins(each, builtin_types=(bytes,))) for each in answers],
            "hex": packing.pack_answers(answers).hex(),
        },
        "tails": {"tails": tails, "hex": packing.pack_tails(tails).hex()},
        "input_digests": [
            {
                "input": shown(msgspec.to_builtins(given, builtin_types=(bytes,))),
                "args": args,
                "digest": packing.input_digest(given, args).hex(),
            }
            for given, args in inputs
        ],
        "answer_digests": [
            {"ok": True, "payload": b"42".hex(), "digest": packing.answer_digest(ok=True, payload=b"42").hex()},
            {
                "ok": False,
                "exit_code": 3,
                "error": "It exited with 3.",
                "digest": packing.answer_digest(ok=False, exit_code=3, error="It exited with 3.").hex(),
            },
        ],
    }


# --- what is hashed and signed -------------------------------------------------------------------


def _signing() -> dict[str, Any]:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public = signing.public_bytes(key)
    proof = signing.proof_bytes(GRID, NONCE, public)
    results = [_result(number) for number in range(3)]
    leaves = b"".join(bytes.fromhex(result["leaf_hash"]) for result in results)
    root = signing.tree_root(leaves)
    for index, result in enumerate(results):
        result["path"] = [step.hex() for step in signing.inclusion_path(leaves, index)]
    return {
        "seed": SEED.hex(),
        "public_key": public.hex(),
        "node": did_of(public),
        "grid": GRID.hex(),
        "proof": {"nonce": NONCE.hex(), "signed": proof.hex(), "signature": key.sign(proof).hex()},
        "results": results,
        "leaves": leaves.hex(),
        "root": root.hex(),
        "signed": signing.root_bytes(GRID, root, len(results)).hex(),
        "signature": signing.sign_leaves(key, GRID, leaves).hex(),
    }


def _result(number: int) -> dict[str, Any]:
    program, given, output = (sha256(f"{word} {number}".encode()).digest() for word in ("program", "input", "output"))
    assignment = struct.pack(">QQ", 7, number)
    usage = (1_000 + number, 1_100 + number, 1 << 20, number)
    outcome = Outcome.PROGRAM_ERROR if number == 1 else Outcome.OK
    leaf = signing.leaf_bytes(GRID, assignment, program, given, outcome, output, usage)
    return {
        "assignment": assignment.hex(),
        "program": program.hex(),
        "input": given.hex(),
        "outcome": int(outcome),
        "output": output.hex(),
        "usage": dict(zip(("cpu_ms", "wall_ms", "memory_bytes", "size"), usage)),
        "leaf": leaf.hex(),
        "leaf_hash": signing.leaf_hash(leaf).hex(),
    }
