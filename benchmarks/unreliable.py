"""An AWS that fails: errors before and after the deed, throttling, doubled messages; around the embedded one."""

from __future__ import annotations

import io
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


@dataclass(frozen=True)
class Rates:
    """Chances per request, 0..1.

    Parameters:
        refuse: answered 503, nothing done.
        throttle: answered with the service's throttling error, nothing done.
        lose: done, but the answer is a 500: the caller cannot know.
        double: a batch of messages is sent twice.
    """

    refuse: float = 0.01
    throttle: float = 0.01
    lose: float = 0.005
    double: float = 0.05


class UnreliableAws:
    """A WSGI application around the embedded AWS's; quiet until :attr:`rates` is set.

    Parameters:
        app: what really answers.
        seed: of the chances.
    """

    def __init__(self, app: Application, seed: int) -> None:
        self._app = app
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.rates: Rates | None = None
        self.counts: Counter[str] = Counter()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        fault = self._draw(environ)
        if fault is None:
            return self._app(environ, start_response)
        with self._lock:
            self.counts[fault] += 1
        if fault == "doubled":
            body = environ["wsgi.input"].read()
            list(self._app({**environ, "wsgi.input": io.BytesIO(body)}, _ignore))
            return self._app({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        if fault == "lost":
            list(self._app(environ, _ignore))
        return _error(environ, fault, start_response)

    def _draw(self, environ: Environ) -> str | None:
        rates, service = self.rates, _service(environ)
        if rates is None or service not in {"sqs", "s3", "dynamodb"}:
            return None
        with self._lock:
            chance = self._random.random()
        for fault, rate in (("refused", rates.refuse), ("throttled", rates.throttle), ("lost", rates.lose)):
            if chance < rate:
                return fault
            chance -= rate
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        return "doubled" if action == "SendMessageBatch" and chance < rates.double else None


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
    """The answer that nobody hears."""


def _service(environ: Environ) -> str:
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
    return scope[3] if len(scope) > 4 else ""


def _error(environ: Environ, fault: str, start_response: Any) -> list[bytes]:
    throttled = fault == "throttled"
    status = {"refused": "503 Service Unavailable", "lost": "500 Internal Server Error"}.get(fault, "400 Bad Request")
    if _service(environ) == "s3":
        status = "503 Slow Down" if throttled else status
        code = "SlowDown" if throttled else "InternalError"
        kind, body = "application/xml", f"<Error><Code>{code}</Code><Message>{fault}</Message></Error>".encode()
    else:
        name = "ThrottlingException" if throttled else "InternalServerError"
        kind, body = "application/x-amz-json-1.0", json.dumps({"__type": name, "message": fault}).encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
