"""Compiled programs are machine code: what others could have written must never be loaded."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from crowdgrid.runtimes import compiled
from crowdgrid.runtimes.compiled import Compiled


@pytest.fixture
def engine() -> wasmtime.Engine:
    return wasmtime.Engine()


@pytest.fixture
def module(engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(engine, '(module (func (export "answer") (result i32) (i32.const 42)))')


def answer(engine: wasmtime.Engine, module: wasmtime.Module | None) -> object:
    assert module is not None
    store = wasmtime.Store(engine)
    function = wasmtime.Instance(store, module, []).exports(store)["answer"]
    assert isinstance(function, wasmtime.Func)
    return function(store)


@pytest.fixture
def folder(tmp_path: Path, engine: wasmtime.Engine, module: wasmtime.Module) -> Path:
    path = tmp_path / "deep" / "cache"
    Compiled(engine, str(path)).put("aa", module)
    return path


def test_what_was_put_comes_back_and_runs(folder: Path, engine: wasmtime.Engine) -> None:
    assert answer(engine, Compiled(engine, str(folder)).get("aa")) == 42


def test_the_folder_and_its_files_are_for_their_owner_only(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()] == [("aa", 0o600)]


def test_what_is_not_there_is_none(folder: Path, engine: wasmtime.Engine) -> None:
    assert Compiled(engine, str(folder)).get("bb") is None


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o701])
def test_a_folder_open_to_others_is_not_used(
    folder: Path, mode: int, engine: wasmtime.Engine, module: wasmtime.Module
) -> None:
    folder.chmod(mode)
    cache = Compiled(engine, str(folder))
    cache.put("bb", module)
    assert cache.get("aa") is None
    assert not (folder / "bb").exists()


def test_a_folder_that_is_a_link_is_not_used(folder: Path, engine: wasmtime.Engine) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert Compiled(engine, str(link)).get("aa") is None


def test_a_file_that_others_could_write_or_that_is_a_link_is_not_loaded(folder: Path, engine: wasmtime.Engine) -> None:
    (folder / "bb").symlink_to(folder / "aa")
    cache = Compiled(engine, str(folder))
    assert cache.get("bb") is None
    (folder / "aa").chmod(0o666)
    assert cache.get("aa") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_used(folder: Path, engine: wasmtime.Engine) -> None:
    os.chown(folder, 12345, 12345)
    assert Compiled(engine, str(folder)).get("aa") is None


@pytest.mark.parametrize("kept", [0, 31, 32, 40, -1])
def test_a_torn_file_is_not_loaded(folder: Path, kept: int, engine: wasmtime.Engine) -> None:
    data = (folder / "aa").read_bytes()
    (folder / "aa").write_bytes(data[:kept])
    assert Compiled(engine, str(folder)).get("aa") is None


def test_a_changed_file_is_not_loaded(folder: Path, engine: wasmtime.Engine) -> None:
    data = bytearray((folder / "aa").read_bytes())
    data[-9] ^= 1
    (folder / "aa").write_bytes(data)
    assert Compiled(engine, str(folder)).get("aa") is None


def test_code_of_another_configuration_is_not_loaded(folder: Path) -> None:
    config = wasmtime.Config()
    config.consume_fuel = True
    assert Compiled(wasmtime.Engine(config), str(folder)).get("aa") is None


def test_no_folder_means_no_cache(engine: wasmtime.Engine, module: wasmtime.Module) -> None:
    cache = Compiled(engine, "")
    cache.put("aa", module)
    assert cache.get("aa") is None


def test_a_folder_that_cannot_be_made_costs_time_and_no_error(
    tmp_path: Path, engine: wasmtime.Engine, module: wasmtime.Module
) -> None:
    (tmp_path / "file").write_text("")
    cache = Compiled(engine, str(tmp_path / "file" / "cache"))
    cache.put("aa", module)
    assert cache.get("aa") is None


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_half_way_leaves_nothing(
    folder: Path, full_disk: None, engine: wasmtime.Engine, module: wasmtime.Module
) -> None:
    Compiled(engine, str(folder)).put("bb", module)
    assert [path.name for path in folder.iterdir()] == ["aa"]


def test_what_was_used_longest_ago_goes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, engine: wasmtime.Engine, module: wasmtime.Module
) -> None:
    size = (folder / "aa").stat().st_size
    monkeypatch.setattr(compiled, "CACHE_BYTES", 2 * size)
    cache = Compiled(engine, str(folder))
    cache.put("bb", module)
    os.utime(folder / "aa", ns=(1, 1))
    os.utime(folder / "bb", ns=(2, 2))
    assert cache.get("aa") is not None  # used now, so "bb" is the oldest
    cache.put("cc", module)
    assert sorted(path.name for path in folder.iterdir()) == ["aa", "cc"]
