"""Buckets: the same answers in memory and on S3."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minimoto.core.job import Location
from minimoto.errors import CloudError, NotFound


@pytest.fixture
def below(ports: Any) -> Location:
    """A prefix of this test's own."""
    return Location(ports.config.bucket_input, f"trip-{uuid.uuid4().hex[:8]}/")


def test_a_file_comes_back_the_same_with_its_digest(ports: Any, below: Location, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    file, back = tmp_path / "a.jpg", tmp_path / "b.jpg"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    up: list[int] = []
    down: list[int] = []
    ports.store.upload(file, below / "in/ü 1.jpg", digest, up.append)
    stored = ports.store.stat(below / "in/ü 1.jpg")
    assert (stored.size, stored.sha256, stored.location) == (len(data), digest, below / "in/ü 1.jpg")
    assert stored.modified > 1_700_000_000
    ports.store.download(below / "in/ü 1.jpg", back, down.append)
    assert back.read_bytes() == data
    assert (sum(up), sum(down)) == (len(data), len(data))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "b.jpg"]


def test_a_file_of_several_parts(ports: Any, below: Location, tmp_path: Path) -> None:
    data = b"0123456789abcdef" * (1 << 20) + b"end"
    (tmp_path / "a").write_bytes(data)
    moved: list[int] = []
    lock = threading.Lock()

    def count(size: int) -> None:
        with lock:
            moved.append(size)

    ports.store.upload(tmp_path / "a", below / "film.mp4", "d" * 64, count)
    assert sum(moved) == len(data)
    assert (ports.store.stat(below / "film.mp4").size, ports.store.stat(below / "film.mp4").sha256) == (
        len(data),
        "d" * 64,
    )
    ports.store.download(below / "film.mp4", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == data


def test_an_empty_file(ports: Any, below: Location, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    ports.store.upload(tmp_path / "a", below / "empty")
    assert ports.store.stat(below / "empty").size == 0
    assert ports.store.read(below / "empty") == b""
    ports.store.download(below / "empty", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""


def test_a_download_replaces_a_file_only_when_it_is_there(ports: Any, below: Location, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")
    with pytest.raises(NotFound, match=r"nothing\.jpg"):
        ports.store.download(below / "nothing.jpg", file)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_small_objects(ports: Any, below: Location) -> None:
    ports.store.write(below / "in/manifest.json", b"{}")
    assert ports.store.read(below / "in/manifest.json") == b"{}"
    assert ports.store.stat(below / "in/manifest.json").sha256 == ""
    ports.store.write(below / "in/manifest.json", b"[1]")
    assert ports.store.read(below / "in/manifest.json", limit=3) == b"[1]"
    with pytest.raises(CloudError, match="3 bytes, where at most 2"):
        ports.store.read(below / "in/manifest.json", limit=2)
    with pytest.raises(NotFound, match=r"nothing\.json"):
        ports.store.read(below / "nothing.json")
    assert ports.store.stat(below / "nothing.json") is None


def test_listing_and_removing_below_a_prefix(ports: Any, below: Location) -> None:
    for name in ("in/2.jpg", "in/10.jpg", "work/0/a", "work2", "z"):
        ports.store.write(below / name, name.encode())
    listed = list(ports.store.list(below))
    names = [stored.location.key.removeprefix(below.key) for stored in listed]
    assert names == ["in/10.jpg", "in/2.jpg", "work/0/a", "work2", "z"]
    assert [(stored.size, stored.sha256) for stored in listed][:2] == [(9, ""), (8, "")]
    assert ports.store.remove(below / "work/") == 1
    assert ports.store.remove(below / "work/") == 0
    assert [stored.location.key.removeprefix(below.key) for stored in ports.store.list(below)] == [
        "in/10.jpg",
        "in/2.jpg",
        "work2",
        "z",
    ]
    assert ports.store.remove(below) == 4


def calls(ports: Any, tmp_path: Path) -> dict[str, Callable[[Location], Any]]:
    (tmp_path / "a").write_bytes(b"a")
    return {
        "upload": lambda to: ports.store.upload(tmp_path / "a", to),
        "download": lambda source: ports.store.download(source, tmp_path / "b"),
        "write": lambda to: ports.store.write(to, b"x"),
        "read": ports.store.read,
        "stat": ports.store.stat,
        "list": ports.store.list,
        "remove": ports.store.remove,
    }


NAMES = ["upload", "download", "write", "read", "stat", "list", "remove"]


@pytest.mark.parametrize("name", NAMES)
def test_the_buckets_of_others_are_refused(ports: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(CloudError, match=r"somebody-elses.*not one of this deployment"):
        calls(ports, tmp_path)[name](Location("somebody-elses", "trip/"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "key", ["../x/", "a/../../b/", "/etc/", "a/./b/", "a\nb/", "a\x00/", "é" * 600 + "/", "\udc80/"]
)
def test_keys_that_lead_elsewhere_are_refused(ports: Any, tmp_path: Path, name: str, key: str) -> None:
    with pytest.raises(CloudError, match="is not allowed"):
        calls(ports, tmp_path)[name](Location(ports.config.bucket_input, key))


@pytest.mark.parametrize("name", ["upload", "download", "write", "read", "stat"])
@pytest.mark.parametrize("key", ["", "trip/"])
def test_a_prefix_is_no_object(ports: Any, tmp_path: Path, name: str, key: str) -> None:
    with pytest.raises(CloudError, match="not an object"):
        calls(ports, tmp_path)[name](Location(ports.config.bucket_input, key))


@pytest.mark.parametrize("key", ["", "trip"])
def test_only_what_is_below_a_folder_can_be_removed(ports: Any, key: str) -> None:
    with pytest.raises(CloudError, match="ends in /"):
        ports.store.remove(Location(ports.config.bucket_input, key))


def test_checking_a_bucket(make_ports: Any) -> None:
    ports = make_ports(more_buckets=("minimoto-never-made-5e1b",))
    ports.store.check(ports.config.bucket_input)
    with pytest.raises(NotFound, match="minimoto-never-made-5e1b: there is no such bucket"):
        ports.store.check("minimoto-never-made-5e1b")
    with pytest.raises(CloudError, match="not one of this deployment"):
        ports.store.check("somebody-elses")


def test_a_bucket_that_is_gone(make_ports: Any, tmp_path: Path) -> None:
    ports = make_ports(more_buckets=("minimoto-never-made-5e1b",))
    gone = Location("minimoto-never-made-5e1b", "a")
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(NotFound):
        ports.store.upload(tmp_path / "a", gone)
    with pytest.raises(NotFound):
        ports.store.read(gone)
    with pytest.raises(NotFound):
        list(ports.store.list(Location(gone.bucket, "")))
