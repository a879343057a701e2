"""The metadata service's client, and what makes a service stop."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from minimoto.config import Config
from minimoto.errors import CloudError
from minimoto.imds import Imds, Maintenance, SpotAction
from minimoto.interruption import Stop, Watch, metadata_service, node_id
from minimoto.logs import open_log
from minimoto.memory import FakeClock
from tests.submitting import wait_for

NOTICE = "meta-data/spot/instance-action"
EVENTS = "meta-data/events/maintenance/scheduled"


@dataclass
class FakeImds:
    """A metadata service that answers what the test put there."""

    url: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def imds() -> Iterator[FakeImds]:
    fake = FakeImds()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            fake.tokens.append(f"token-{len(fake.tokens)}")
            self._answer(200, fake.tokens[-1])

        def do_GET(self) -> None:
            path = self.path.removeprefix("/latest/")
            fake.asked.append(path)
            if self.headers["X-aws-ec2-metadata-token"] != (fake.tokens or [""])[-1]:
                self._answer(401, "")
            elif path in fake.answers:
                self._answer(200, fake.answers[path])
            else:
                self._answer(404, "")

        def _answer(self, code: int, text: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def test_reads_with_one_token_and_renews_it(imds: FakeImds) -> None:
    client = Imds(imds.url)
    imds.answers["meta-data/instance-id"] = "i-0abc"
    assert client.instance_id() == "i-0abc"
    assert client.spot_action() is None
    assert len(imds.tokens) == 1
    imds.tokens.append("another: the old one has expired")
    assert client.instance_id() == "i-0abc"
    assert len(imds.tokens) == 3


def test_reads_notices(imds: FakeImds) -> None:
    client = Imds(imds.url)
    assert (client.rebalance(), client.maintenance()) == (None, [])
    imds.answers[NOTICE] = json.dumps({"action": "stop", "time": "2026-01-02T03:04:05Z"})
    imds.answers["meta-data/events/recommendations/rebalance"] = json.dumps({"noticeTime": "2026-01-02T03:04:05Z"})
    imds.answers[EVENTS] = json.dumps(
        [
            {"NotBefore": "21 Jan 2026 09:00:43 GMT", "Code": "system-reboot", "State": "active"},
            {"NotBefore": "21 Jan 2026 09:00:43 GMT", "Code": "instance-stop", "State": "completed"},
        ]
    )
    assert client.spot_action() == SpotAction("stop", 1767323045.0)
    assert client.rebalance() == 1767323045.0
    assert client.maintenance() == [Maintenance("system-reboot", 1768986043.0)]


def test_nonsense_is_an_error_not_a_crash(imds: FakeImds) -> None:
    imds.answers[NOTICE] = "no json"
    with pytest.raises(CloudError, match="gave no JSON"):
        Imds(imds.url).spot_action()
    with pytest.raises(CloudError, match="does not answer"):
        Imds("http://127.0.0.1:9", timeout=0.2).instance_id()


def test_a_proxy_is_never_asked(imds: FakeImds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    imds.answers["meta-data/instance-id"] = "i-0abc"
    assert Imds(imds.url).instance_id() == "i-0abc"


def test_which_service_is_asked_and_who_we_are(imds: FakeImds) -> None:
    real, local = Config(), Config(endpoint_url="http://127.0.0.1:1")
    named = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}
    assert metadata_service(real, {}) is not None
    assert metadata_service(real, {"AWS_EC2_METADATA_DISABLED": "true"}) is None
    assert metadata_service(local, {}) is None
    assert metadata_service(local, named) is not None
    assert metadata_service(real, {"MINIMOTO_NODE": "me"}) is None
    imds.answers["meta-data/instance-id"] = "i-0abc"
    assert node_id(metadata_service(local, named), {}) == "i-0abc"
    assert node_id(metadata_service(local, named), {"MINIMOTO_NODE": "a/b"}) == "a-b"
    assert node_id(None, {}) == node_id(Imds("http://127.0.0.1:9", 0.2), {}) != ""


def watch(imds: FakeImds, stop: Stop, every: float = 5.0, said: io.StringIO | None = None, **more: Any) -> Watch:
    return Watch(stop, Imds(imds.url), FakeClock(), open_log(stream=said or io.StringIO()), every, **more)


def test_a_spot_notice_is_urgent(imds: FakeImds) -> None:
    stop = Stop()
    with watch(imds, stop, every=0.02).running():
        assert not stop.draining
        imds.answers[NOTICE] = json.dumps({"action": "terminate", "time": "2026-01-02T03:04:05Z"})
        assert stop.wait_urgent(10)
    assert stop.reason == "spot interruption: terminate"


def test_maintenance_drains_when_it_is_near(imds: FakeImds) -> None:
    stop = Stop()
    imds.answers[EVENTS] = json.dumps([{"NotBefore": "15 Jan 2027 12:00:00 GMT", "Code": "system-reboot"}])
    watch(imds, stop).look()
    assert not stop.draining
    imds.answers[EVENTS] = json.dumps([{"NotBefore": "15 Jan 2027 08:05:00 GMT", "Code": "system-reboot"}])
    watch(imds, stop).look()
    assert (stop.draining, stop.urgent, stop.reason) == (True, False, "maintenance: system-reboot")
    assert stop.lasting == stop.reason


REBALANCE = "meta-data/events/recommendations/rebalance"
TARGET = "meta-data/autoscaling/target-lifecycle-state"


def test_rebalance_is_said_once_and_drains_for_good(imds: FakeImds) -> None:
    stop, said = Stop(), io.StringIO()
    imds.answers[REBALANCE] = json.dumps({"noticeTime": "2026-01-02T03:04:05Z"})
    watching = watch(imds, stop, said=said)
    watching.look()
    watching.look()
    assert (stop.draining, stop.urgent) == (True, False)
    assert stop.lasting == stop.reason == "rebalance recommended"
    assert said.getvalue().count("rebalance recommended") == 1


def test_a_group_replaces_before_it_ends_so_rebalance_stops_nothing(imds: FakeImds) -> None:
    stop, told = Stop(), []
    imds.answers[REBALANCE] = json.dumps({"noticeTime": "2026-01-02T03:04:05Z"})
    imds.answers[TARGET] = "InService"
    watching = watch(imds, stop, leaving=lambda: told.append("leaving"))
    watching.look()
    assert not stop.draining
    imds.answers[TARGET] = "Terminated"
    watching.look()
    watching.look()
    assert (stop.draining, stop.urgent, stop.lasting) == (True, False, "")
    assert stop.reason == "the Auto Scaling group ends this machine"
    assert told == ["leaving", "leaving"]


def test_a_machine_of_no_group_does_not_ask_for_one(imds: FakeImds) -> None:
    watch(imds, Stop()).look()
    assert TARGET not in imds.asked


def test_a_silent_service_is_said_once(imds: FakeImds) -> None:
    said = io.StringIO()
    watching = Watch(Stop(), Imds("http://127.0.0.1:9", 0.2), FakeClock(), open_log(stream=said))
    watching.look()
    watching.look()
    assert said.getvalue().count("metadata service is silent") == 1


def test_signals_stop_the_service_and_are_given_back() -> None:
    stop = Stop()
    before = signal.getsignal(signal.SIGTERM)
    with Watch(stop, None, FakeClock(), open_log(stream=io.StringIO())).running(signals=True):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait_urgent(5)
    assert stop.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_first_reason_stays_unless_a_more_urgent_one_comes() -> None:
    stop = Stop()
    stop.drain("scale in")
    stop.drain("maintenance")
    assert (stop.reason, stop.urgent, stop.wait(0)) == ("scale in", False, True)
    stop.now("SIGTERM")
    stop.now("SIGINT")
    assert (stop.reason, stop.urgent) == ("SIGTERM", True)
    wait_for(lambda: stop.wait_urgent(0))
