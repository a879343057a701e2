"""The instance metadata service of every machine, version 2: below ``/_imds/<instance-id>/latest/``.

Format: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from minimoto.local import groups, instances
from minimoto.local.gate import Gate
from minimoto.local.instances import LocalInstance
from minimoto.local.supervisor import Notice

PREFIX = "_imds"
"""No bucket may be named so, and none is hidden by it."""
LONGEST_TOKEN = 21_600

Answer = tuple[int, str]


class Imds:
    """The WSGI application.

    Parameters:
        notice: the interruption that a machine has been told of.
    """

    def __init__(self, gate: Gate, notice: Callable[[str], Notice | None]) -> None:
        self._gate, self._notice = gate, notice
        self._tokens: dict[str, tuple[str, float]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        code, text = self._answer(environ)
        reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 405: "Method Not Allowed"}
        body = text.encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response(f"{code} {reason.get(code, 'Not Found')}", headers)
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        below = str(environ["PATH_INFO"]).removeprefix(f"/{PREFIX}/")
        instance_id, _, version_and_path = below.partition("/")
        version, _, path = version_and_path.partition("/")
        with self._gate.lock("ec2"):
            machine = instances.find(instance_id)
            in_group = groups.lifecycle_state(instance_id)
        if machine is None or machine.state == "terminated" or version != "latest":
            return 404, ""
        if path == "api/token":
            return self._token(environ, instance_id)
        if environ["REQUEST_METHOD"] != "GET":
            return 405, ""
        owner, until = self._tokens.get(environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN", ""), ("", 0.0))
        if owner != instance_id or time.monotonic() >= until:
            return 401, ""
        path = path.rstrip("/")
        text = in_group if path == "meta-data/autoscaling/target-lifecycle-state" else self._read(machine, path)
        return (404, "") if text is None else (200, text)

    def _token(self, environ: dict[str, Any], instance_id: str) -> Answer:
        if environ["REQUEST_METHOD"] != "PUT":
            return 405, ""
        if environ.get("HTTP_X_FORWARDED_FOR"):
            return 403, ""
        seconds = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= LONGEST_TOKEN:
            return 400, ""
        now = time.monotonic()
        self._tokens = {token: held for token, held in self._tokens.items() if held[1] > now}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = (instance_id, now + int(seconds))
        return 200, token

    def _read(self, machine: LocalInstance, path: str) -> str | None:
        if path == "user-data":
            return machine.user_data or None
        notice = self._notice(machine.id)
        if path == "meta-data/spot/instance-action" and notice:
            return json.dumps({"action": "terminate", "time": _iso(notice.at)})
        if path == "meta-data/events/recommendations/rebalance" and notice:
            return json.dumps({"noticeTime": _iso(notice.told)})
        return {
            "meta-data/instance-id": machine.id,
            "meta-data/instance-type": str(machine.model.instance_type),
            "meta-data/instance-life-cycle": "spot" if machine.spot else "on-demand",
            "meta-data/placement/region": machine.region,
            "meta-data/placement/availability-zone": machine.zone,
            "meta-data/local-ipv4": str(machine.model.private_ip),
            "meta-data/events/maintenance/scheduled": "[]",
        }.get(path)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
