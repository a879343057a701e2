"""The Auto Scaling groups of the embedded AWS: what moto's leave out.

moto's groups end machines at once, know no lifecycle hook that waits, no failed health check and no activities. Here a
group that shrinks chooses among unprotected machines only, and each that it ends waits for its hook; a machine that is
found stopped or ended is replaced. moto's EC2 and its Auto Scaling change each other: hold the lock of EC2.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

from moto.autoscaling import models
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
WAIT = "Terminating:Wait"
MOST_BEATS = 100
"""Timeouts of a hook that a machine can be held up for in all, however often it asks for more time."""


class AlreadyExists(AutoscalingClientError):
    """There is a group of that name."""

    code = "AlreadyExists"


class ResourceInUse(AutoscalingClientError):
    """The group still has machines."""

    code = "ResourceInUse"


# moto's answers go by the name of the class.
class FakeAutoScalingGroup(models.FakeAutoScalingGroup):
    """moto's group, with protection, hooks and health checks."""

    @property
    def user_data(self) -> Any:
        """As moto's, which keeps that of a template's later versions as text."""
        data = (
            self.ec2_launch_template.get_version(self.launch_template_version).data if self.ec2_launch_template else {}
        )
        text = data.get("UserData")
        return Base64EncodedString(text) if isinstance(text, str) else text

    def set_desired_capacity(self, new_capacity: int | None) -> None:
        """Wants so many machines, within its bounds."""
        wanted = self.min_size if new_capacity is None else new_capacity
        self.desired_capacity = max(self.min_size or 0, min(self.max_size or 0, wanted or 0))
        self.level()

    def level(self) -> None:
        """Starts what is missing, and begins to end what is too many."""
        missing = (self.desired_capacity or 0) - len(self.active_instances())
        if missing > 0:
            self.replace_autoscaling_group_instances(missing, self.get_propagated_tags())
        spare = [state for state in self.active_instances() if not state.protected_from_scale_in]
        for state in spare[: max(0, -missing)]:
            self.leave(state)

    def leave(self, state: Any) -> None:
        """Ends a machine: at once, or when its hook is completed or has timed out."""
        hook = self.hook
        if hook is None:
            self.end(state)
            return
        now = time.monotonic()
        state.lifecycle_state = WAIT
        state.until, state.latest = now + hook.heartbeat_timeout, now + MOST_BEATS * hook.heartbeat_timeout

    def end(self, state: Any) -> None:
        """Ends a machine now."""
        self.instance_states = [other for other in self.instance_states if other is not state]
        if state.instance.state != "terminated":
            self.ec2_backend.terminate_instances([state.instance.id])

    def look(self, now: float) -> None:
        """What time and health checks bring about."""
        states: list[Any] = list(self.instance_states)
        for state in states:
            gone = state.instance.state not in ("pending", "running")
            if gone or (state.lifecycle_state == WAIT and now >= min(state.until, state.latest)):
                self.end(state)
            elif state.health_status == "Unhealthy" and state.lifecycle_state != WAIT:
                self.leave(state)
        self.level()

    @property
    def hook(self) -> Any:
        """The hook that its machines wait for before they end, or ``None``."""
        hooks = self.autoscaling_backend.describe_lifecycle_hooks(self.name)
        return next((hook for hook in hooks if hook.lifecycle_transition == TERMINATING), None)

    def member(self, instance_id: str) -> Any:
        """One of its machines, as moto keeps it, or ``None``."""
        return next((state for state in self.instance_states if state.instance.id == instance_id), None)

    def update(self, **changes: Any) -> None:  # type: ignore[override]
        """As moto's, but what is not named stays, and what it wants is moved into the bounds."""
        changes["mixed_instances_policy"] = changes["mixed_instances_policy"] or (
            None if changes["launch_template"] else self.mixed_instances_policy
        )
        wanted = self.desired_capacity if changes["desired_capacity"] is None else changes["desired_capacity"]
        self.min_size = self.min_size if changes["min_size"] is None else changes["min_size"]
        self.max_size = self.max_size if changes["max_size"] is None else changes["max_size"]
        super().update(**{**changes, "desired_capacity": wanted})


def groups() -> Iterator[Any]:
    """Every group of every account and region."""
    for account in list(models.autoscaling_backends.values()):
        for backend in list(account.values()):
            yield from list(backend.autoscaling_groups.values())


def look(now: float) -> None:
    """Lets every group do what time and health checks bring about."""
    for group in groups():
        group.look(now)


def lifecycle_state(instance_id: str) -> str | None:
    """``InService``, or ``Terminated`` for a machine that its group ends; ``None`` for one of no group."""
    state = next((state for group in groups() if (state := group.member(instance_id))), None)
    if state is None:
        return None
    return "Terminated" if state.lifecycle_state == WAIT else "InService"


def install() -> None:
    """Makes moto's Auto Scaling this one; a second call changes nothing."""
    module: Any = importlib.import_module("moto.autoscaling.models")
    module.FakeAutoScalingGroup = FakeAutoScalingGroup
    backend: Any = models.AutoScalingBackend
    backend.terminate_instance = _terminate
    backend.notify_terminate_instances = _told_of_end
    backend.set_instance_protection = _protect
    backend.detach_instances = _detach
    if backend.create_auto_scaling_group.__name__ != "_create":
        backend.create_auto_scaling_group = _once(backend.create_auto_scaling_group)
    response: Any = AutoScalingResponse
    response.complete_lifecycle_action = _complete
    response.record_lifecycle_action_heartbeat = _extend
    response.delete_auto_scaling_group = _delete
    response.put_scaling_policy = _put_policy
    response.update_auto_scaling_group = _update


def _update(self: Any, update: Any = AutoScalingResponse.update_auto_scaling_group) -> EmptyResult:
    """As moto's, which does not hear of rebalancing."""
    update(self)
    group = self.autoscaling_backend.autoscaling_groups[self._get_param("AutoScalingGroupName")]
    group.capacity_rebalance = self._get_bool_param("CapacityRebalance", group.capacity_rebalance)
    return EmptyResult()


def _put_policy(self: Any, put: Any = AutoScalingResponse.put_scaling_policy) -> ActionResult:
    """As moto's, with the ARN under the name that AWS gives it."""
    return ActionResult({"PolicyARN": put(self).result["PolicyArn"]})


def _once(create: Any) -> Any:
    def _create(self: Any, name: str, **given: Any) -> Any:
        if name in self.autoscaling_groups:
            raise AlreadyExists("AutoScalingGroup by this name already exists")
        return create(self, name=name, **given)

    return _create


def _terminate(self: Any, instance_id: str, should_decrement: bool) -> Any:
    group, state = _found(self, instance_id)
    before = group.desired_capacity
    activity = models.TerminateInstanceActivity(state.instance, before)
    if state.lifecycle_state == WAIT:
        raise ValidationError(f"Instance {instance_id} is already being terminated")
    group.leave(state)
    group.set_desired_capacity(before - 1 if should_decrement else before)
    return activity


def _protect(self: Any, group_name: str, instance_ids: list[str], protected_from_scale_in: bool) -> None:
    found = [_found(self, instance_id) for instance_id in instance_ids]
    for (group, state), instance_id in zip(found, instance_ids, strict=True):
        if group.name != group_name or state.lifecycle_state != "InService":
            raise ValidationError(f"The instance {instance_id} is not in InService.")
        state.protected_from_scale_in = protected_from_scale_in
        # What was kept alive by nothing else goes now.
        group.level()


def _detach(self: Any, group_name: str, instance_ids: list[str], should_decrement: bool) -> list[Any]:
    """As moto's, which asks nothing, and would take off the tag of machines that are none of the group's."""
    found = [_found(self, instance_id) for instance_id in instance_ids]
    for (group, state), instance_id in zip(found, instance_ids, strict=True):
        if group.name != group_name or state.lifecycle_state != "InService":
            raise ValidationError(f"The instance {instance_id} is not in InService or Standby.")
    group, states = self.autoscaling_groups[group_name], [state for _, state in found]
    wanted = group.desired_capacity - (len(states) if should_decrement else 0)
    if wanted < group.min_size:
        raise ValidationError("Detaching would make the group's desired capacity less than its minimum size.")
    group.instance_states = [state for state in group.instance_states if state not in states]
    for instance_id in instance_ids:
        self.ec2_backend.delete_tags([instance_id], {models.ASG_NAME_TAG: group.name})
    group.set_desired_capacity(wanted)
    return [models.DetachInstanceActivity(state.instance) for state in states]


def _told_of_end(self: Any, instance_ids: list[str]) -> None:
    """EC2 has ended machines: their groups see it at their next look, as AWS's health checks do."""


def _complete(self: Any) -> EmptyResult:
    group, state = _awaited(self)
    group.end(state)
    return EmptyResult()


def _extend(self: Any) -> EmptyResult:
    group, state = _awaited(self)
    state.until = time.monotonic() + group.hook.heartbeat_timeout
    return EmptyResult()


def _awaited(self: Any) -> tuple[Any, Any]:
    instance_id = self._get_param("InstanceId")
    group, state = _found(self.autoscaling_backend, instance_id)
    named = (self._get_param("AutoScalingGroupName"), self._get_param("LifecycleHookName"))
    if state.lifecycle_state != WAIT or group.hook is None or named != (group.name, group.hook.name):
        raise ValidationError(f"No active Lifecycle Action found with instance ID {instance_id}")
    return group, state


def _delete(self: Any) -> EmptyResult:
    """With its machines if forced; its hooks and policies go with it."""
    backend, name = self.autoscaling_backend, self._get_param("AutoScalingGroupName")
    group = backend.autoscaling_groups.get(name)
    if group is None:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    if group.instance_states and not self._get_bool_param("ForceDelete", False):
        raise ResourceInUse("You cannot delete an AutoScalingGroup while there are instances still in the group.")
    for state in list(group.instance_states):
        group.end(state)
    del backend.autoscaling_groups[name]
    for kept in (backend.lifecycle_hooks, backend.policies):
        for key in [key for key, each in kept.items() if each.auto_scaling_group_name == name]:
            del kept[key]
    return EmptyResult()


def _found(backend: Any, instance_id: str) -> tuple[Any, Any]:
    for group in backend.autoscaling_groups.values():
        state = group.member(instance_id)
        if state is not None:
            return group, state
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID {instance_id}")
