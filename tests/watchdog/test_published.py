"""What a pass publishes of the fleet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from played_fleet import Fleet

from minimoto.core.node import NodeState
from minimoto.errors import CloudError


def healthy(fleet: Fleet) -> list[float]:
    return [value for name, value, _ in fleet.cloud.metrics.published if name == "NumHealthyNodes"]


def test_nodes_that_report_and_can_work_are_healthy(fleet: Fleet) -> None:
    fleet.node(NodeState.READY)
    fleet.node(NodeState.BUSY, task="trip/0/0", progressed=fleet.now)
    fleet.node(NodeState.FENCED)
    fleet.node(NodeState.DRAINING)
    fleet.node(None, age=5.0)
    fleet.run()
    assert healthy(fleet) == [2.0]


def test_an_empty_fleet_has_none(make_fleet: Callable[..., Fleet]) -> None:
    fleet = make_fleet(min_nodes=0)
    fleet.run()
    assert healthy(fleet) == [0.0]


def test_a_fleet_that_cannot_be_seen_is_not_said_to_be_ill(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise CloudError("throttled")

    fleet.node()
    monkeypatch.setattr(fleet.cloud.nodes, "reports", refuse)
    fleet.run()
    assert healthy(fleet) == []
