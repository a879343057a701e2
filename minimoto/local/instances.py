"""The machines of the embedded AWS, read and changed in moto's own state.

moto's instances are always well and running from the start. What the supervisor finds (still booting, not well, dead)
is written where moto looks when it answers DescribeInstances and DescribeInstanceStatus.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models import ec2_backends
from moto.ec2.models import instances as moto_instances
from moto.ec2.utils import parse_user_data

DEPLOYMENT_TAG = "minimoto:deployment"
ROLE_TAG = "minimoto:role"


# moto's answers go by the name of the class.
class Instance(moto_instances.Instance):
    """moto's instance, which can also be not well."""

    impaired = False

    @property
    def instance_status(self) -> dict[str, Any]:
        """The check of the machine itself: fails when its processes are gone."""
        if self.impaired and self.is_running():
            return {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed"}]}
        return super().instance_status


def install() -> None:
    """Makes moto start instances of this kind; a second call changes nothing."""
    models: Any = importlib.import_module("moto.ec2.models.instances")
    models.Instance = Instance
    responses: Any = importlib.import_module("moto.ec2.responses.instances")
    responses.parse_user_data = _given_user_data


@dataclass(frozen=True)
class LocalInstance:
    """An instance as it is now. ``user_data`` is text, not base64; ``model`` is moto's object."""

    id: str
    role: str
    deployment: str
    state: str
    account: str
    region: str
    zone: str
    spot: bool
    user_data: str
    model: Instance = field(repr=False, compare=False)


def all_instances() -> list[LocalInstance]:
    """Every instance of minimoto that is not terminated, of any deployment; hold the lock of EC2."""
    return [view for model in _models() if (view := _view(model)).role and view.state != "terminated"]


def find(instance_id: str) -> LocalInstance | None:
    """One instance, whatever its state; hold the lock of EC2."""
    return next((_view(model) for model in _models() if model.id == instance_id), None)


def set_state(instance: LocalInstance, name: str, code: int, reason: str = "", reason_code: str = "") -> None:
    """Writes an instance's state, with the reason that DescribeInstances gives; hold the lock of EC2."""
    instance.model._state = moto_instances.InstanceState(name, code)
    instance.model._reason = reason
    instance.model.state_reason = moto_instances.StateReason(reason, reason_code)


def terminate(instance: LocalInstance, reason: str, reason_code: str) -> None:
    """Terminates an instance as AWS itself does it; hold the lock of EC2."""
    instance.model.terminate()
    set_state(instance, "terminated", 48, reason, reason_code)


def _models() -> Iterator[Any]:
    for account in list(ec2_backends.values()):
        for backend in list(account.values()):
            for reservation in list(backend.reservations.values()):
                yield from reservation.instances


def _view(model: Any) -> LocalInstance:
    tags = model.ec2_backend.tags.get(model.id, {})
    return LocalInstance(
        id=model.id,
        role=tags.get(ROLE_TAG, "") if DEPLOYMENT_TAG in tags else "",
        deployment=tags.get(DEPLOYMENT_TAG, ""),
        state=model.state,
        account=model.ec2_backend.account_id,
        region=model.ec2_backend.region_name,
        zone=model.placement.zone or "",
        spot=model.lifecycle == "spot",
        user_data=_text(model.user_data),
        model=model,
    )


def _given_user_data(value: Any) -> Base64EncodedString | None:
    """As moto's, which takes what it has decoded itself (ModifyInstanceAttribute's, a blob) for encoded once more."""
    return Base64EncodedString.from_raw_bytes(value) if isinstance(value, bytes) else parse_user_data(value)


def _text(user_data: Any) -> str:
    return base64.b64decode(str(user_data)).decode("utf-8", "replace") if user_data else ""
