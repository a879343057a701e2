"""What is kept between starts: whole, checked, bounded, and never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from minimoto.engines import runtime_cache as cache
from minimoto.engines.runtime_cache import Entry, cache_dir, lock, prune, read, write

ENTRY = Entry({"compiled": b"network" * 100}, {"precision": "fp32"})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "net-1"
    assert read(folder) is None
    assert write(folder, ENTRY)
    assert read(folder) == ENTRY
    assert write(folder, Entry({"other": b""}, {}))
    assert read(folder) == Entry({"other": b""}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["net-1"]


def test_a_missing_entry_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path / "net-1") is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("compiled", b"network" * 99),
        ("compiled", b"Network" + b"network" * 99),
        ("compiled", b""),
        ("compiled", None),
        ("entry.json", b"{"),
        ("entry.json", b"[]"),
        ("entry.json", b'{"sha256": {}}'),
        ("entry.json", b"\xff"),
        ("entry.json", None),
    ],
)
def test_damage_is_seen_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes | None
) -> None:
    folder = tmp_path / "net-1"
    write(folder, ENTRY)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    assert read(folder) is None
    assert "net-1 is damaged" in caplog.text
    assert write(folder, ENTRY)
    assert read(folder) == ENTRY


def test_a_cache_that_cannot_be_written_is_said_and_not_needed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "net-1"
    with lock(folder):
        assert not write(folder, ENTRY)
    assert "cannot be locked" in caplog.text
    assert "cannot be cached" in caplog.text


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "net-1"
    write(folder, ENTRY)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert not write(folder, Entry({"compiled": b"newer"}, {}))
    assert read(folder) == ENTRY
    assert [path.name for path in tmp_path.iterdir()] == ["net-1"]


def test_whoever_holds_the_lock_is_waited_for_no_longer_than_is_sensible(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.05)
    with FileLock(tmp_path / "net-1.lock", is_singleton=False), lock(tmp_path / "net-1"):
        assert "cannot be locked" in caplog.text


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    now = time.time()
    for age, name in enumerate(["new", "middle", "old", "oldest"]):
        write(tmp_path / name, Entry({"data": bytes(1000)}, {}))
        os.utime(tmp_path / name, (now - 3600 * age, now - 3600 * age))
    assert read(tmp_path / "old") is not None
    gone = prune(tmp_path, keep=tmp_path / "oldest", limit=3400)
    assert [path.name for path in gone] == ["middle"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "oldest"]


def test_what_a_killed_writer_left_behind_goes(tmp_path: Path) -> None:
    for name, age in ((".new-dead", 10_000), (".new-alive", 1)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    assert [path.name for path in prune(tmp_path, keep=tmp_path)] == [".new-dead"]


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"MINIMOTO_CACHE": "/somewhere"}, "/somewhere"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/minimoto"),
        ({"HOME": "/home/ann"}, "/home/ann/.cache/minimoto"),
        ({"HOME": "/home/ann", "MINIMOTO_CACHE": "~/here"}, "/home/ann/here"),
    ],
)
def test_where_it_is(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], folder: str) -> None:
    for name in ("MINIMOTO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(folder)
