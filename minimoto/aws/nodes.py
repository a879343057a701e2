"""Heartbeats of the fleet on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minimoto.aws.documents import read_document, text, text_of, write_document
from minimoto.aws.items import Items
from minimoto.aws.table import SORT
from minimoto.config import Config
from minimoto.core.node import NodeReport

if TYPE_CHECKING:
    import boto3


class DynamoNodes:
    """``minimoto.ports.Nodes`` on DynamoDB: one item a slot, written over by each heartbeat."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._items = Items(session, config)

    def beat(self, report: NodeReport) -> None:
        """Stores the last heartbeat of a slot."""
        self._items.put(("NODE", f"{report.node}#{report.slot:03d}"), write_document(report))

    def reports(self) -> list[NodeReport]:
        """The last heartbeat of every slot, by node and slot."""
        return [read_document(item, NodeReport) for item in self._items.below("NODE")]

    def forget(self, node: str) -> None:
        """Drops a node's reports and its drain request."""
        for item in self._items.below("NODE", f"{node}#"):
            self._items.delete(("NODE", text_of(item, SORT)))
        self._items.delete(("DRAIN", node))

    def request_drain(self, node: str, reason: str) -> None:
        """Asks a node's services to stop taking work."""
        self._items.put(("DRAIN", node), {"reason": text(reason)})

    def drain_requested(self, node: str) -> str:
        """The reason, or empty."""
        item = self._items.get(("DRAIN", node))
        return text_of(item, "reason") if item else ""
