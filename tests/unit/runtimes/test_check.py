"""A bad program is refused with its own sentence, cheaply, whatever its bytes are."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowdgrid import kernels, limits
from crowdgrid.errors import BadProgram
from crowdgrid.runtimes.check import check_wasm
from crowdgrid.runtimes.sections import Extern, Malformed, outline

MEMORY = '(memory (export "memory") 1)'
START = '(func (export "_start"))'
WASI = '"wasi_snapshot_preview1"'


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


@pytest.mark.parametrize("name", kernels.names())
def test_every_kernel_passes(name: str) -> None:
    check_wasm(kernels.path(name).read_bytes())


def test_the_smallest_command_passes() -> None:
    check_wasm(wat(f"(module {MEMORY} {START})"))


def test_a_start_that_is_imported_and_exported_again_passes() -> None:
    check_wasm(wat(f'(module (import {WASI} "sched_yield" (func)) {MEMORY} (export "_start" (func 0)))'))


NOT_WASM = [
    (b"", "The program is empty."),
    (b"\x7fELF\2\1\1\0", "it looks like a native Linux program (ELF)."),
    (b"MZ\x90\0", "it looks like a native Windows program."),
    (b"\xcf\xfa\xed\xfe\7", "it looks like a native macOS program (Mach-O)."),
    (b"#!/usr/bin/env python3\n", "it looks like a script."),
    (b"\n  (module)", "it looks like WebAssembly in its text form (WAT)."),
    (b";; mine\n(module)", "it looks like WebAssembly in its text form (WAT)."),
    (b"!<arch>\n", "it looks like a library archive (.a)."),
    (b"PK\3\4", "it looks like a zip archive."),
    (b"\x1f\x8b\x08", "it looks like a gzip archive."),
    (b"print('hello')\n", "it looks like text."),
    (("zwölf " * 60).encode()[:257], "it looks like text."),
    (b"\x89PNG\r\n\x1a\n\0", "it looks like some other binary file."),
    (b"\0asm\x0d\0\1\0", "The program is a WebAssembly component, not a core module."),
    (b"\0asm\7\0\0\0", "The program is WebAssembly of an unknown version."),
    (b"\0asm", "The program is WebAssembly of an unknown version."),
]


@pytest.mark.parametrize(("program", "ending"), NOT_WASM)
def test_a_file_of_another_kind_is_called_by_its_name(program: bytes, ending: str) -> None:
    with pytest.raises(BadProgram) as refused:
        check_wasm(program)
    assert refused.value.message.endswith(ending)
    assert refused.value.hint


BAD_MODULES = [
    (f"(module {MEMORY})", "The program has no _start: it is a library, not a command."),
    (
        f'(module {MEMORY} (func (export "_start") (param i32)))',
        "The program's _start is not a function without parameters and results.",
    ),
    (
        f'(module {MEMORY} (global (export "_start") i32 (i32.const 0)))',
        "The program's _start is not a function without parameters and results.",
    ),
    (
        f"(module {START})",
        'The program does not export its memory as "memory", so it can neither read nor write.',
    ),
    (
        f'(module (func (export "memory")) {START})',
        'The program does not export its memory as "memory", so it can neither read nor write.',
    ),
    (
        f'(module (import "env" "emscripten_run" (func)) {MEMORY} {START})',
        "The program imports env.emscripten_run, which the sandbox does not have.",
    ),
    (
        f'(module (import "env" "memory" (memory 1)) {START})',
        "The program imports env.memory, which the sandbox does not have.",
    ),
    (
        f'(module (import {WASI} "sock_open" (func)) {MEMORY} {START})',
        "The program imports wasi_snapshot_preview1.sock_open, which WASI preview 1 does not have.",
    ),
    (
        f'(module (import {WASI} "fd_read" (global i32)) {MEMORY} {START})',
        "The program imports wasi_snapshot_preview1.fd_read, which WASI preview 1 does not have.",
    ),
    (
        f'(module (import "e\\1b[2J" "x\\00" (func)) {MEMORY} {START})',
        "The program imports e?[2J.x?, which the sandbox does not have.",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_MODULES)
def test_a_module_that_cannot_run_is_refused_with_its_own_reason(text: str, message: str) -> None:
    with pytest.raises(BadProgram) as refused:
        check_wasm(wat(text))
    assert refused.value.message == message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        (f'(module (memory (export "memory") 1 2 shared) {START})', "threads"),
        (f'(module (memory (export "memory") i64 1) {START})', "memory64"),
        (f"(module {MEMORY} (memory 1) {START})", "multi-memory"),
        (f"(module {MEMORY} (type (array i8)) {START})", "gc"),
    ],
)
def test_what_a_browser_lacks_or_memory_limits_do_not_hold_is_refused(text: str, proposal: str) -> None:
    with pytest.raises(BadProgram) as refused:
        check_wasm(wat(text))
    assert refused.value.message.startswith("The program is not a valid WebAssembly module: ")
    assert proposal in refused.value.message or "multiple memories" in refused.value.message


def test_a_program_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROGRAM_BYTES", 1024)
    with pytest.raises(BadProgram, match=r"The program is larger than 1 kB\."):
        check_wasm(b"\0asm\1\0\0\0" + bytes(1024))


def test_the_outline_is_what_wasmtime_sees() -> None:
    """The parser is ours; wasmtime's own reading of every kernel must agree with it."""
    engine = wasmtime.Engine()
    for name in kernels.names():
        source = kernels.path(name).read_bytes()
        module, face = wasmtime.Module(engine, source), outline(source)
        assert [(each.module, each.name) for each in face.imports] == [
            (each.module, each.name) for each in module.imports
        ]
        assert list(face.exports) == [each.name for each in module.exports]
        kinds = {wasmtime.FuncType: Extern.FUNCTION, wasmtime.MemoryType: Extern.MEMORY}
        assert [kind for kind, _ in face.exports.values()] == [kinds[type(each.type)] for each in module.exports]


KERNEL = kernels.path("echo").read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_after_the_magic_break_the_check(tail: bytes) -> None:
    with pytest.raises(BadProgram):
        check_wasm(b"\0asm\1\0\0\0" + tail)


@settings(max_examples=300, deadline=None)
@given(st.integers(8, len(KERNEL) - 1), st.integers(0, 255))
def test_a_damaged_module_is_refused_or_sound_and_never_anything_else(at: int, byte: int) -> None:
    damaged = KERNEL[:at] + bytes([byte]) + KERNEL[at + 1 :]
    for reader in (check_wasm, outline):
        try:
            reader(damaged)
        except (BadProgram, Malformed):
            pass


def _whole_without_its_notes() -> set[int]:
    """Where it may end: after its last section, and before those at its end that are custom, which a program can do without."""
    ends, at = [8], 8
    custom: list[bool] = []
    while at < len(KERNEL):
        custom.append(KERNEL[at] == 0)
        at, size, shift = at + 1, 0, 0
        while True:  # LEB128
            byte = KERNEL[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        at += size
        ends.append(at)
    while custom and custom[-1]:
        custom.pop()
    return set(ends[len(custom) :])


WHOLE = _whole_without_its_notes()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(KERNEL)))
@example(length=len(KERNEL))
@example(length=min(WHOLE))
@example(length=min(WHOLE) - 1)
def test_a_module_cut_short_is_refused(length: int) -> None:
    if length in WHOLE:
        return check_wasm(KERNEL[:length])
    with pytest.raises(BadProgram):
        check_wasm(KERNEL[:length])
    return None
