"""What setup would do, found out without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from minimoto.aws.calls import aws_call
from minimoto.aws.resources.context import Context, NotMadeYet
from minimoto.aws.resources.resource import Resource

Action = Literal["make", "keep", "repair", "differs", "remove"]


@dataclass(frozen=True)
class Planned:
    """One line of the plan."""

    action: Action
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.action:<8} {self.what}" + (f": {self.detail}" if self.detail else "")


def plan(ctx: Context, resources: Sequence[Resource]) -> list[Planned]:
    """Looks every resource up; changes nothing.

    Raises:
        CloudError: AWS refused to tell.
    """
    planned: list[Planned] = []
    for resource in resources:
        with aws_call(resource.label()):
            if resource.wanted(ctx):
                planned += _look(ctx, resource)
            else:
                planned += [Planned("remove", resource.label(found)) for found in resource.left_over(ctx)]
    return planned


def _look(ctx: Context, resource: Resource) -> list[Planned]:
    found = resource.find(ctx)
    if found is None:
        return [Planned("make", resource.label())]
    ctx.found[resource.key] = found
    label = resource.label(found)
    try:
        drift = resource.drift(ctx, found)
    except NotMadeYet as missing:
        return [Planned("repair", label, f"it will refer to the new {missing}")]
    ctx.config = resource.record(ctx, found)
    if not drift:
        return [Planned("keep", label)]
    return [Planned("repair" if setting.write else "differs", label, str(setting)) for setting in drift]
