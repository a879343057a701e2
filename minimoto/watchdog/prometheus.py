"""What a looping watchdog sees and decides, for Prometheus. Off unless ``[FLEET] metrics`` names an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minimoto.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from minimoto.watchdog.patrol import Pass

CONDITIONS = ("busy", "idle", "booting", "draining", "suspect", "unable", "fenced", "dead")
_QUEUE = ("visible", "in_flight", "delayed")


def address(text: str) -> tuple[str, int]:
    """``127.0.0.1:9400`` or ``:9400`` (every interface) to host and port.

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"[FLEET] metrics is {text!r}: an address such as 127.0.0.1:9400 is expected")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by leaving the host out


class Exporter:
    """The gauges and counters of one watchdog; :meth:`tell` is called after each pass.

    Raises:
        ConfigError: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge
        except ImportError:
            raise ConfigError("[FLEET] metrics needs prometheus-client: pip install 'minimoto[metrics]'") from None
        self.registry: CollectorRegistry = CollectorRegistry()
        self._nodes = Gauge("minimoto_nodes", "Nodes by condition.", ["condition"], registry=self.registry)
        self._queue = Gauge("minimoto_queue_messages", "Messages, approximately.", ["state"], registry=self.registry)
        gauges = {
            "oldest": ("minimoto_queue_oldest_seconds", "Age of the oldest message that waits."),
            "seconds_per_task": ("minimoto_task_seconds", "What a task takes, as seen lately."),
            "boot_seconds": ("minimoto_boot_seconds", "What a boot takes, as seen lately."),
            "jobs": ("minimoto_jobs", "Jobs under way."),
            "spent_today": ("minimoto_spent_today_dollars", "What the nodes cost since midnight UTC, estimated."),
        }
        self._inputs = {name: Gauge(*what, registry=self.registry) for name, what in gauges.items()}
        self._at = Gauge("minimoto_last_pass_timestamp_seconds", "When the last pass was made.", registry=self.registry)
        self._letters = Gauge("minimoto_dead_letters", "Messages left for people.", registry=self.registry)
        self._problems = Counter("minimoto_problems", "What could not be seen or done.", registry=self.registry)
        self._actions = Counter("minimoto_actions", "Nodes acted on.", ["action"], registry=self.registry)

    def serve(self, host: str, port: int) -> int:
        """Answers at an address from a thread of its own; returns the port.

        Raises:
            ConfigError: the address cannot be listened at.
        """
        from prometheus_client import start_http_server

        try:
            server, _ = start_http_server(port, host, registry=self.registry)
        except OSError as error:
            raise ConfigError(f"[FLEET] metrics: {host}:{port} cannot be listened at: {error.strerror}") from error
        return int(server.server_port)

    def tell(self, told: Pass) -> None:
        """Publishes what a pass saw. What is unknown is not a number (NaN), never zero."""
        from minimoto.core.fleet import Launch
        from minimoto.watchdog.patrol import KINDS

        inputs: dict[str, Any] = dict(told.decision.inputs)
        states = inputs.get("nodes")
        for condition in CONDITIONS:
            self._nodes.labels(condition).set(_number(None if states is None else states.get(condition, 0)))
        for name in _QUEUE:
            self._queue.labels(name).set(_number(inputs.get(name)))
        for name, gauge in self._inputs.items():
            gauge.set(_number(inputs.get(name)))
        self._at.set(told.at)
        self._letters.set(told.dead_letters)
        self._problems.inc(len(told.problems))
        for action in told.decision.actions:
            self._actions.labels(KINDS[type(action)]).inc(action.count if isinstance(action, Launch) else 1)


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))
