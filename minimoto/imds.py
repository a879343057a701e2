"""What a machine can learn of itself from the instance metadata service, version 2 (a token for every read).

Format: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from minimoto.errors import CloudError

ENDPOINT = "http://169.254.169.254"
TOKEN_SECONDS = 21600
MOST_BYTES = 65_536


@dataclass(frozen=True)
class SpotAction:
    """What will be done to this spot instance, and when (seconds since the epoch)."""

    action: str
    at: float


@dataclass(frozen=True)
class Maintenance:
    """A scheduled event: its code, such as ``system-reboot``, and its earliest begin (seconds since the epoch)."""

    code: str
    not_before: float


class Imds:
    """The metadata service of this machine.

    Parameters:
        endpoint: such as ``http://169.254.169.254``.
        timeout: seconds for one answer; the service is on this very machine.
    """

    def __init__(self, endpoint: str = ENDPOINT, timeout: float = 1.0) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._timeout = timeout
        self._token = ""
        # A proxy would be told our token, and would answer for the wrong machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Imds | None:
        """The service that boto3 would ask too, or ``None`` where ``AWS_EC2_METADATA_DISABLED`` says so."""
        environ = os.environ if environ is None else environ
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        return cls(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT)

    def instance_id(self) -> str:
        """This machine's id; raises ``CloudError`` where there is no metadata service."""
        identity = self._get("meta-data/instance-id")
        if not identity:
            raise CloudError("the instance metadata service knows no instance id")
        return identity.strip()

    def spot_action(self) -> SpotAction | None:
        """The interruption that this spot instance has been told of, if any."""
        notice = self._document("meta-data/spot/instance-action")
        if not isinstance(notice, dict):
            return None
        return SpotAction(str(notice.get("action", "terminate")), _instant(str(notice.get("time", ""))))

    def rebalance(self) -> float | None:
        """When AWS recommended to move off this machine, which is likely to be interrupted; ``None`` if it did not."""
        notice = self._document("meta-data/events/recommendations/rebalance")
        return _instant(str(notice.get("noticeTime", ""))) if isinstance(notice, dict) else None

    def ended_by_group(self) -> bool:
        """Whether the Auto Scaling group of this machine is about to end it."""
        return self._get("meta-data/autoscaling/target-lifecycle-state") == "Terminated"

    def maintenance(self) -> list[Maintenance]:
        """The scheduled events that are still to come."""
        events = self._document("meta-data/events/maintenance/scheduled")
        return [
            Maintenance(str(event.get("Code", "")), _instant(str(event.get("NotBefore", ""))))
            for event in (events if isinstance(events, list) else [])
            if isinstance(event, dict) and event.get("State", "active") == "active"
        ]

    def _document(self, path: str) -> Any:
        text = self._get(path)
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise CloudError(f"the instance metadata service gave no JSON for {path}") from None

    def _get(self, path: str) -> str | None:
        for renew in (False, True):
            if renew or not self._token:
                self._token = self._ask(
                    "api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
                )
            try:
                return self._ask(path, "GET", {"X-aws-ec2-metadata-token": self._token})
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if error.code != 401 or renew:
                    raise CloudError(f"the instance metadata service answered {error.code} to {path}") from None
        raise AssertionError("unreachable")

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._endpoint}/latest/{path}", method=method, headers=headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return str(answer.read(MOST_BYTES).decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            if method == "PUT":
                raise CloudError(f"the instance metadata service gave no token ({error.code})") from None
            raise
        except OSError as error:
            raise CloudError(f"the instance metadata service at {self._endpoint} does not answer ({error})") from None


def _instant(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 or an RFC 1123 time; 0 for what is neither: better early than never."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(text).timestamp()
        except ValueError:
            continue
    return 0.0
