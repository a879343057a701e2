"""What ``minimoto local`` asks of the running embedded AWS: below ``/_minimoto/``, JSON in and out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from minimoto import __version__
from minimoto.errors import MinimotoError, UsageError
from minimoto.local.server import EmbeddedServer
from minimoto.local.supervisor import Supervisor

PREFIX = "_minimoto"


class Control:
    """The WSGI application."""

    def __init__(self, server: EmbeddedServer, supervisor: Supervisor) -> None:
        self._server, self._supervisor = server, supervisor
        self._actions: dict[tuple[str, str], Callable[[dict[str, Any]], dict[str, Any]]] = {
            ("GET", "status"): self._status,
            ("POST", "interrupt"): self._interrupt,
            ("POST", "reset"): self._reset,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        action = self._actions.get((environ["REQUEST_METHOD"], environ["PATH_INFO"].split("/", 2)[-1]))
        if action is None:
            status, answer = "404 Not Found", {"error": f"there is no {environ['PATH_INFO']}"}
        else:
            try:
                body = environ["wsgi.input"].read()
                status, answer = "200 OK", action(json.loads(body) if body else {})
            except MinimotoError as error:
                status, answer = "400 Bad Request", {"error": str(error)}
        data = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": self._server.url,
            "pid": os.getpid(),
            "version": __version__,
            "instances": self._supervisor.describe(),
        }

    def _interrupt(self, asked: dict[str, Any]) -> dict[str, Any]:
        seconds = asked.get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
            raise UsageError("the notice of an interruption is 0 to 3600 seconds")
        self._supervisor.interrupt(str(asked.get("instance")), float(seconds))
        return {}

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.forget()
        self._server.reset()
        return {}
