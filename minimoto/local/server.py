"""The embedded AWS: moto's server in this process, on loopback only, safe for many threads.

moto keeps its state in module globals, so a process holds one embedded AWS; what it holds is forgotten at the end.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.errors import UsageError

if TYPE_CHECKING:
    from minimoto.local.gate import Gate
    from minimoto.local.wire import LoopbackServer

ACCOUNT = "123456789012"
"""The account that moto plays."""

_only_one = threading.Lock()


@dataclass(frozen=True)
class EmbeddedServer:
    """A running embedded AWS.

    Parameters:
        url: its endpoint, such as ``http://127.0.0.1:40123``.
        gate: for those in this process who touch moto's state: its locks and routes.
    """

    url: str
    gate: Gate
    _listener: LoopbackServer
    _thread: threading.Thread

    def reset(self) -> None:
        """Forgets everything."""
        from moto.core.base_backend import BackendDict
        from moto.core.model_instances import reset_model_data

        from minimoto.local import fleets

        with self.gate.exclusive():
            BackendDict.reset()
            reset_model_data()
            fleets.forget()
            self.gate.forget()

    def stop(self) -> None:
        """Stops answering, and forgets everything; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self.gate.close()
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.close_connections()
        self._thread.join()
        self.reset()
        _only_one.release()


def start(port: int = 0, spill: Path | None = None) -> EmbeddedServer:
    """Starts the embedded AWS in this process and returns when it answers.

    Parameters:
        port: on 127.0.0.1; 0 takes a free one.
        spill: a folder for the bytes of S3 objects larger than 16 KiB; without it they stay in memory.

    Raises:
        UsageError: moto is not installed, the port is taken, or this process runs one already.
    """
    # Read by moto when it is imported.
    os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
    try:
        from moto.moto_server.werkzeug_app import create_backend_app
    except ImportError as error:
        raise UsageError(f"the embedded AWS needs moto: pip install 'minimoto[local]' ({error})") from error
    from minimoto.local import fleets, groups, instances
    from minimoto.local.gate import Gate
    from minimoto.local.quick import QuickDispatcher, quicken
    from minimoto.local.seed import seed
    from minimoto.local.spill import keep_objects_in
    from minimoto.local.wire import LoopbackServer

    if not _only_one.acquire(blocking=False):
        raise UsageError("this process already runs an embedded AWS; moto has one memory for a process")
    instances.install()
    fleets.install()
    groups.install()
    quicken()
    keep_objects_in(spill)
    gate = Gate(QuickDispatcher(create_backend_app), lambda region: seed(ACCOUNT, region))
    try:
        listener = LoopbackServer(port, gate)
    except OSError as error:
        _only_one.release()
        raise UsageError(f"port {port} of 127.0.0.1 cannot be used: {error.strerror}") from error
    thread = threading.Thread(target=listener.serve_forever, name="embedded-aws", daemon=True)
    thread.start()
    return EmbeddedServer(f"http://127.0.0.1:{listener.port}", gate, listener, thread)
