"""What stands between the network and moto: who may call, one at a time per service, and cheap long polls.

moto was made for tests with one thread. Its conditional writes read, compare and write without a lock, so two threads
can both win; two receives can get the same message; and a receive that waits keeps looking at every message. So each
service has a lock here, held while moto works and never while a receive waits.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
SEEDED = ("ec2", "ssm")
SAME = {"autoscaling": "ec2"}
"""Services that change each other's state in moto share a lock, and what is called after a request."""

LOOK_AGAIN = 1.0
"""Seconds after which a waiting receive looks again even if nothing seems to have changed."""


class Gate:
    """The WSGI application of the embedded AWS, around moto's.

    Parameters:
        app: moto's dispatcher.
        seed: called once for each region before its first request to EC2 or SSM.
    """

    def __init__(self, app: Application, seed: Callable[[str], None]) -> None:
        self.app = app
        self._seed = seed
        self._seeded: set[str] = set()
        self._routes: dict[str, Application] = {}
        self._after: dict[str, Callable[[], None]] = {}
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._sent = threading.Condition(self.lock("sqs"))
        self._closing = False

    def lock(self, service: str) -> threading.RLock:
        """The lock of one service, by its signing name; whoever touches moto's state in this process holds it."""
        return self._locks[service]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds every service still."""
        with ExitStack() as stack:
            for service in sorted(self._locks):
                stack.enter_context(self._locks[service])
            yield

    def forget(self) -> None:
        """Has every region seeded again."""
        self._seeded.clear()

    def after(self, service: str, call: Callable[[], None]) -> None:
        """Has ``call`` called after each request to a service, while its lock is still held."""
        self._after[service] = call

    def route(self, first: str, app: Application) -> None:
        """Serves paths below ``/first/`` by an application of our own."""
        self._routes[first] = app

    def close(self) -> None:
        """Ends every receive that waits."""
        with self._sent:
            self._closing = True
            self._sent.notify_all()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not _from_here(environ):
            return _refuse(start_response)
        own = self._routes.get(environ["PATH_INFO"].split("/", 2)[1] if environ["PATH_INFO"] != "" else "")
        if own is not None:
            return own(environ, start_response)
        service = _service(environ)
        service = SAME.get(service, service)
        if service == "sqs":
            return self._queue_call(environ, start_response)
        if service in SEEDED:
            self._seed_region(_region(environ))
        with self._locks[service]:
            answer = list(self.app(environ, start_response))
            if service in self._after:
                self._after[service]()
            return answer

    def _seed_region(self, region: str) -> None:
        if region not in self._seeded:
            with ExitStack() as stack:
                for service in SEEDED:
                    stack.enter_context(self._locks[service])
                if region not in self._seeded:
                    self._seed(region)
                    self._seeded.add(region)

    def _queue_call(self, environ: Environ, start_response: Any) -> list[bytes]:
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        with self._sent:
            if action == "ReceiveMessage":
                _await_message(environ, self._sent, lambda: self._closing)
            answer = list(self.app(environ, start_response))
            if action.startswith(("SendMessage", "ChangeMessageVisibility")):
                self._sent.notify_all()
            return answer


def _await_message(environ: Environ, changed: threading.Condition, closing: Callable[[], bool]) -> None:
    """Waits until the queue has a message or the time is over; then moto need not wait.

    ``changed`` is held; waiting gives it free.
    """
    from moto.sqs.models import sqs_backends

    body = environ["wsgi.input"].read()
    try:
        asked = json.loads(body)
        account, name = urlsplit(asked["QueueUrl"]).path.strip("/").split("/")
        backend = sqs_backends[account][_region(environ)]
        queue: Any = backend.queues[name]
        seconds = float(asked.get("WaitTimeSeconds", queue.receive_message_wait_time_seconds))
    except (KeyError, TypeError, ValueError):
        # Not for us to judge: moto answers with the right error.
        environ["wsgi.input"] = io.BytesIO(body)
        return
    if 0 <= seconds <= 20:
        deadline = time.monotonic() + seconds
        while not closing() and backend.queues.get(name) is queue:
            left = deadline - time.monotonic()
            if left <= 0 or _available(queue):
                break
            changed.wait(min(left, LOOK_AGAIN, _next_visible(queue)))
        body = json.dumps({**asked, "WaitTimeSeconds": 0}).encode()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))


def _available(queue: Any) -> bool:
    """Whether any message can be received now."""
    now = time.time() * 1000
    return any(now > m.visible_at and now >= m.delayed_until for m in queue._messages)


def _next_visible(queue: Any) -> float:
    """Seconds until the first hidden message can be received."""
    now = time.time() * 1000
    soonest = min((max(m.visible_at, m.delayed_until) for m in queue._messages), default=now + 60_000)
    return max(0.002, (soonest - now) / 1000 + 0.002)


def _service(environ: Environ) -> str:
    """The service that a request is signed for; S3 for unsigned ones (presigned URLs)."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
    return scope[3] if len(scope) > 4 else "s3"


def _region(environ: Environ) -> str:
    return str(environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")[2])


def _from_here(environ: Environ) -> bool:
    """Whether the request names this computer: a web page whose name was rebound to 127.0.0.1 does not."""
    host = environ.get("HTTP_HOST", "")
    if _without_port(host) not in LOOPBACK:
        return False
    origin = environ.get("HTTP_ORIGIN", "")
    return not origin or _without_port(urlsplit(origin).netloc) in LOOPBACK


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _refuse(start_response: Any) -> list[bytes]:
    body = b"minimoto local answers only to 127.0.0.1 and localhost\n"
    start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
