"""Buckets in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from minimoto.config import Config
from minimoto.core.job import Location
from minimoto.core.location import check_location, check_object, check_removable
from minimoto.errors import CloudError, NotFound
from minimoto.ports import Clock, StoredObject, Transferred


class MemoryStore:
    """``minimoto.ports.Store`` in memory. The input and the output bucket are there, others once they are made."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._lock = threading.Lock()
        self._buckets: dict[str, dict[str, tuple[bytes, StoredObject]]] = {
            name: {} for name in (config.bucket_input, config.bucket_output)
        }

    def make_bucket(self, name: str) -> None:
        """Makes a bucket, such as one of ``config.more_buckets``."""
        with self._lock:
            self._buckets.setdefault(name, {})

    def upload(self, path: Path, to: Location, sha256: str = "", moved: Transferred | None = None) -> None:
        check_object(to, self._config.buckets)
        data = path.read_bytes()
        self._put(to, data, sha256)
        if moved is not None:
            moved(len(data))

    def download(self, source: Location, path: Path, moved: Transferred | None = None) -> None:
        data = self._get(source)[0]
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data)
        os.replace(part, path)
        if moved is not None:
            moved(len(data))

    def copy(self, source: Location, to: Location) -> None:
        check_object(to, self._config.buckets)
        data, stored = self._get(source)
        self._put(to, data, stored.sha256)

    def write(self, to: Location, data: bytes) -> None:
        check_object(to, self._config.buckets)
        self._put(to, data, "")

    def read(self, source: Location, limit: int = 16_000_000) -> bytes:
        data = self._get(source)[0]
        if len(data) > limit:
            raise CloudError(f"{source}: {len(data)} bytes, where at most {limit} are expected", code="EntityTooLarge")
        return data

    def stat(self, location: Location) -> StoredObject | None:
        try:
            return self._get(location)[1]
        except NotFound:
            return None

    def list(self, prefix: Location) -> Iterable[StoredObject]:
        check_location(prefix, self._config.buckets)
        with self._lock:
            found = [stored for key, (_, stored) in self._bucket(prefix).items() if key.startswith(prefix.key)]
        listed = [StoredObject(stored.location, stored.size, stored.modified) for stored in found]
        return sorted(listed, key=lambda stored: stored.location)

    def remove(self, prefix: Location) -> int:
        check_removable(prefix, self._config.buckets)
        with self._lock:
            bucket = self._bucket(prefix)
            keys = [key for key in bucket if key.startswith(prefix.key)]
            for key in keys:
                del bucket[key]
        return len(keys)

    def check(self, bucket: str) -> None:
        check_location(Location(bucket, ""), self._config.buckets)
        with self._lock:
            self._bucket(Location(bucket, ""))

    def _put(self, to: Location, data: bytes, sha256: str) -> None:
        with self._lock:
            self._bucket(to)[to.key] = (data, StoredObject(to, len(data), self._clock.now(), sha256))

    def _get(self, source: Location) -> tuple[bytes, StoredObject]:
        check_object(source, self._config.buckets)
        with self._lock:
            found = self._bucket(source).get(source.key)
        if found is None:
            raise NotFound(f"{source}: there is no such object")
        return found

    def _bucket(self, location: Location) -> dict[str, tuple[bytes, StoredObject]]:
        if location.bucket not in self._buckets:
            raise NotFound(f"bucket {location.bucket}: there is no such bucket")
        return self._buckets[location.bucket]
