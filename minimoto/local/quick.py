"""moto made quick enough for a fleet: the same answers, less work.

Its dispatcher lists the folder of its package on every request; its queue reads the clock twice for every message
whenever it looks at them, and counts all of them three times when anybody asks it for any attribute, which a receive
does three times and a send once. It lists the methods of a service anew for every call, and asks at every node of an
update expression which kinds of nodes it looks for.
"""

from __future__ import annotations

import importlib
import time
from functools import cache, lru_cache
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.sqs.models import Message, Queue, SQSBackend


class QuickDispatcher(DomainDispatcherApplication):
    """Looks for the backend of a host once."""

    def __init__(self, create_app: Any) -> None:
        super().__init__(create_app)
        self._backend_of = lru_cache(maxsize=256)(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        return self._backend_of(host)


class QuickQueue(Queue):
    """Reads the clock once for each look at the messages."""

    @property
    def messages(self) -> list[Message]:
        now = time.time() * 1000
        return [m for m in self._messages if now > m.visible_at and now >= m.delayed_until]

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        now = time.time() * 1000
        return sum(now < m.delayed_until for m in self._messages)

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        now = time.time() * 1000
        return sum(now <= m.visible_at for m in self._messages)


def _is_retained(self: SQSBackend, queue_name: str, message: Message) -> bool:
    """As in moto, without gathering every attribute of the queue for each message."""
    queue: Any = self.get_queue(queue_name)
    return bool((message.sent_timestamp or 0) / 1000 + queue.message_retention_period > time.time())


def _traverse(self: Any, node: Any) -> Any:
    """As in moto, the kinds of nodes that are looked for gathered once."""
    kinds = tuple(self._processing_map())
    vars(self)["nodes_to_be_processed"] = lambda: kinds
    return self.traverse_node_recursively(node)


def quicken() -> None:
    """Puts these in moto's place; a second call changes nothing."""
    models: Any = importlib.import_module("moto.sqs.models")
    models.Queue = QuickQueue
    models.SQSBackend.is_message_valid_based_on_retention_period = _is_retained
    _remember(models, "camelcase_to_underscores")
    _remember(importlib.import_module("moto.core.responses"), "method_names_from_class")
    nodes: Any = importlib.import_module("moto.dynamodb.parsing.ast_nodes")
    nodes.DepthFirstTraverser.traverse = _traverse


def _remember(module: Any, function: str) -> None:
    if not hasattr(getattr(module, function), "cache_info"):
        setattr(module, function, cache(getattr(module, function)))
