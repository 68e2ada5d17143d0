"""Which WebAssembly a program may use: what every current browser runs too, without threads.

Hub (checking) and worker (running) use the same set, so what the hub lets in runs on every node. Off are
proposals that browsers lack or that would escape the memory limit (garbage collection has a heap of its
own); relaxed SIMD is off because its results may differ between machines.
"""

from __future__ import annotations

import wasmtime


def engine_config() -> wasmtime.Config:
    """A new configuration; no fuel, no epochs (see `wasm`)."""
    config = wasmtime.Config()
    config.wasm_simd = True
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    config.wasm_function_references = False
    config.wasm_exceptions = False
    config.wasm_stack_switching = False
    config.wasm_custom_page_sizes = False
    config.wasm_wide_arithmetic = False
    config.wasm_component_model = False
    return config
