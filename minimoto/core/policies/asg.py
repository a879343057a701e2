"""The rule where an Auto Scaling group sizes the fleet: the watchdog launches nothing, it replaces, bounds and reports.

What is dead is ended through the group, which starts another in its place; what failed and is kept to be looked at is
taken out of it first, as the group would end it. The group's bounds are kept at what the settings, the size set by hand
and the day's budget allow; within them only CloudWatch's alarms move it. Machines that are none of the group's (the one
the image was baked from, those of another policy before this one) are drained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minimoto.core.fleet import Detach, Wish
from minimoto.core.fleet_limits import Limits, budget_text, full_told, grant
from minimoto.core.fleet_view import GONE, View
from minimoto.core.group import Group
from minimoto.core.policies.dead import two_strikes

STRAY = "is none of the Auto Scaling group's"


@dataclass(frozen=True)
class Asg:
    """See the module.

    Parameters:
        size: set by hand; ``None``: the group's alarms decide.
    """

    limits: Limits
    size: int | None = None

    def dead(self, view: View) -> Mapping[str, str]:
        return two_strikes(view)

    def wish(self, view: View, dead: Mapping[str, str], now: float) -> Wish:
        group = view.group
        if group is None:
            return Wish("hold", "the Auto Scaling group could not be seen")
        (least, most), why = self._bounds(view, now)
        (least, most), detach = _detached(view, group, least, most)
        strays = tuple(n.id for n in view.nodes or () if n.up and not n.grouped and n.id not in view.keeping)
        wanted = None if (least, most) == (group.least, group.most) else (least, most)
        # Another size is another rule, so that the log of decisions shows what the alarms did.
        rule = "bounds" if wanted else "stray" if strays else f"group-{group.desired}"
        parts = [f"the Auto Scaling group sizes the fleet: {group.text}"]
        parts += [f"now {least} to {most} nodes"] if wanted else []
        parts += [why] if why else []
        parts += [f"{', '.join(strays)} {STRAY}"] if strays else []
        parts += group.troubles[:1] if group.staying < group.desired else []
        full = bool(view.visible) and group.desired >= group.most > 0
        told = full_told(self.limits) if full else ""
        return Wish(
            rule,
            "; ".join(parts),
            drain=strays,
            firm=True,
            bounds=wanted,
            detach=detach,
            drain_reason=STRAY,
            told=told,
        )

    def _bounds(self, view: View, now: float) -> tuple[tuple[int, int], str]:
        """The least and the most, and what holds them there if it is not the settings alone."""
        if view.budget_shut or (self.limits.budget_per_day and view.price_per_hour is None):
            money = budget_text(view, self.limits)
            return (0, 0), f"{money}: idle nodes end, busy ones finish first, none starts"
        machines = [node for node in view.nodes or () if node.state not in GONE]
        # Every machine that is there costs and counts, whether it is the group's or not.
        beside = sum(not node.grouped or node.id in view.keeping for node in machines)
        granted = grant(view, self.limits, self.limits.max_nodes - len(machines), now)
        most = min(self.limits.max_nodes, len(machines) - beside + granted.count)
        if self.size is not None:
            fixed = min(self.size, most)
            return (fixed, fixed), f"the size is set by hand to {self.size} (--scale_to=auto ends that)"
        why = [granted.reason] if granted.reason else []
        why += [f"{beside} beside the group"] if beside and most < self.limits.max_nodes else []
        return (min(self.limits.min_nodes, most), most), ", ".join(why)


def _detached(view: View, group: Group, least: int, most: int) -> tuple[tuple[int, int], tuple[Detach, ...]]:
    """The bounds for now, and which of the machines that are kept leave the group.

    Where there is no room for another in its place, the group wants one less. AWS lets it want no less than its least:
    until that has been lowered, the machine stays in it, and so does what it may have at most, for with less it would
    end some other machine.
    """
    leaving = sorted(view.keeping & group.detachable)
    smaller = min(len(leaving), max(0, group.desired - most))
    if smaller and group.desired - smaller < group.least:
        return (least, group.most), ()
    return (least, most), tuple(Detach(id, number < smaller) for number, id in enumerate(leaving))
