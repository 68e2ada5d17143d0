"""Programs that behave badly, or just as slowly as a test needs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import wasmtime

_WAT: Final = Path(__file__).parents[2] / "contracts" / "runtimes"

_SLEEP: Final = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\20\\00\\00\\00\\01\\00\\00\\00")
  (data (i32.const 32) "1")
  (data (i32.const 64) "{subscription}")
  (func (export "_start")
    (if (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)) (then unreachable))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 256)))))
"""


def wasm(name: str) -> bytes:
    """One of the programs the runtimes' contract is tested with."""
    return bytes(wasmtime.wat2wasm((_WAT / f"{name}.wat").read_text()))


def sleeping(ms: int) -> bytes:
    """A program that waits so long and then prints 1."""
    # Its user data, clock (0), monotonic (1), nanoseconds: https://github.com/WebAssembly/WASI, `subscription`.
    subscription = b"\7" + bytes(15) + b"\1" + bytes(7) + (ms * 1_000_000).to_bytes(8, "little") + bytes(16)
    return bytes(wasmtime.wat2wasm(_SLEEP.format(subscription="".join(f"\\{byte:02x}" for byte in subscription))))
