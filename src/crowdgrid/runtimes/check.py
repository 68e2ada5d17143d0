"""Says whether bytes are a program the wasm runtime can run, and if not, exactly why.

The hub asks once when a program comes in, so that a bad one is refused with a reason before anything is
scheduled; a worker asks again before it compiles. The steps, cheapest first: what kind of file it is;
wasmtime's validation, which compiles nothing; what it imports and exports. About 1 ms for 100 kB; call
it in a thread.
"""

from __future__ import annotations

from typing import Final

import wasmtime

from crowdgrid import limits
from crowdgrid.errors import BadProgram
from crowdgrid.runtimes import sentences
from crowdgrid.runtimes.features import engine_config
from crowdgrid.runtimes.sections import MAGIC, MODULE_VERSION, Extern, Malformed, Outline, outline

WASI: Final = "wasi_snapshot_preview1"

HINT_BUILD: Final = (
    "Build a WASI preview 1 command, for example with `clang --target=wasm32-wasi -O2 -o program.wasm program.c`; "
    "kernels/README.md shows how."
)
HINT_WAT: Final = "Turn the text into a binary with `wat2wasm program.wat`."
HINT_COMPONENT: Final = "Build it as a WASI preview 1 command (target wasm32-wasip1), not as a component."
HINT_COMMAND: Final = "Link it as a command with a main function, not as a library or reactor (`-mexec-model=command`)."
HINT_IMPORTS: Final = (
    f"A program may only import from {WASI}: no JavaScript glue, no threads, no host of its own. "
    "With Emscripten use -sSTANDALONE_WASM."
)

_LOOKS_LIKE: Final = (
    (b"\x7fELF", "a native Linux program (ELF)", HINT_BUILD),
    (b"MZ", "a native Windows program", HINT_BUILD),
    (b"\xcf\xfa\xed\xfe", "a native macOS program (Mach-O)", HINT_BUILD),
    (b"\xca\xfe\xba\xbe", "a Java class or a universal macOS program", HINT_BUILD),
    (b"#!", "a script", HINT_BUILD),
    (b"(module", "WebAssembly in its text form (WAT)", HINT_WAT),
    (b"(component", "WebAssembly in its text form (WAT)", HINT_WAT),
    (b";;", "WebAssembly in its text form (WAT)", HINT_WAT),
    (b"!<arch>", "a library archive (.a)", "Link it into a program first."),
    (b"BC\xc0\xde", "LLVM bitcode", HINT_BUILD),
    (b"\x1f\x8b", "a gzip archive", "Unpack it and send the .wasm file in it."),
    (b"PK\x03\x04", "a zip archive", "Unpack it and send the .wasm file in it."),
)

# Functions of WASI preview 1: https://github.com/WebAssembly/WASI, legacy/preview1/witx.
_FAMILIES: Final = {
    "args": "get sizes_get",
    "clock": "res_get time_get",
    "environ": "get sizes_get",
    "fd": "advise allocate close datasync fdstat_get fdstat_set_flags fdstat_set_rights filestat_get "
    "filestat_set_size filestat_set_times pread prestat_dir_name prestat_get pwrite read readdir renumber seek "
    "sync tell write",
    "path": "create_directory filestat_get filestat_set_times link open readlink remove_directory rename symlink "
    "unlink_file",
    "poll": "oneoff",
    "proc": "exit raise",
    "random": "get",
    "sched": "yield",
    "sock": "accept recv send shutdown",
}
_WASI_FUNCTIONS: Final = frozenset(f"{family}_{name}" for family, names in _FAMILIES.items() for name in names.split())


def check_wasm(program: bytes) -> None:
    """Check a program before anybody is asked to run it.

    Raises:
        BadProgram: it cannot run; the message says why, the hint what to do.
    """
    _check_kind(program)
    _check_valid(program)
    try:
        face = outline(program)
    except Malformed as error:
        raise BadProgram(f"This WebAssembly module cannot be read: {error}.", hint=HINT_BUILD) from None
    _check_imports(face)
    _check_exports(face)


def _check_kind(program: bytes) -> None:
    if not program:
        raise BadProgram("The program is empty.", hint="Is it the right file?")
    if len(program) > limits.PROGRAM_BYTES:
        raise BadProgram(
            f"The program is larger than {sentences.size(limits.PROGRAM_BYTES)}.",
            hint="Strip it (`-Wl,--strip-all`) and send large data as input.",
        )
    if program.startswith(MAGIC):
        return _check_version(program)
    head = program[:256].lstrip()
    for beginning, name, hint in _LOOKS_LIKE:
        if program.startswith(beginning) or head.startswith(beginning):
            raise BadProgram(f"The program is not WebAssembly: it looks like {name}.", hint=hint)
    kind = "text" if _is_text(program[:256]) else "some other binary file"
    raise BadProgram(f"The program is not WebAssembly: it looks like {kind}.", hint=HINT_BUILD)


def _check_version(program: bytes) -> None:
    version = program[4:8]
    if version == MODULE_VERSION:
        return
    if version[2:] == b"\1\0":  # layer 1
        raise BadProgram("The program is a WebAssembly component, not a core module.", hint=HINT_COMPONENT)
    raise BadProgram("The program is WebAssembly of an unknown version.", hint=HINT_BUILD)


def _check_valid(program: bytes) -> None:
    try:
        with wasmtime.Engine(engine_config()) as engine:  # 20 µs; one kept for ever ends noisily at exit
            wasmtime.Module.validate(engine, program)
    except wasmtime.WasmtimeError as error:
        reason = sentences.one_line(str(error))
        raise BadProgram(f"The program is not a valid WebAssembly module: {reason}.", hint=HINT_BUILD) from None


def _check_imports(face: Outline) -> None:
    for each in face.imports:
        full = sentences.one_line(f"{each.module}.{each.name}")
        if each.module != WASI:
            raise BadProgram(f"The program imports {full}, which the sandbox does not have.", hint=HINT_IMPORTS)
        if each.kind is not Extern.FUNCTION or each.name not in _WASI_FUNCTIONS:
            raise BadProgram(f"The program imports {full}, which WASI preview 1 does not have.", hint=HINT_IMPORTS)


def _check_exports(face: Outline) -> None:
    if "_start" not in face.exports:
        raise BadProgram("The program has no _start: it is a library, not a command.", hint=HINT_COMMAND)
    if not face.is_plain_function("_start"):
        raise BadProgram("The program's _start is not a function without parameters and results.", hint=HINT_COMMAND)
    if face.exports.get("memory", (None, 0))[0] is not Extern.MEMORY:
        raise BadProgram(
            'The program does not export its memory as "memory", so it can neither read nor write.',
            hint="Export it (`--export-memory`); every WASI toolchain does so by itself.",
        )


def _is_text(head: bytes) -> bool:
    try:
        return head.decode("utf-8", errors="strict").isprintable() or (b"\n" in head and b"\0" not in head)
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and b"\0" not in head  # cut within a character
