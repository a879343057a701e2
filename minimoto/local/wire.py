"""HTTP for the embedded AWS: connections that stay open.

Werkzeug's development server closes the connection after each answer and waits 10 ms for stray bytes; boto's
connection pool then pays for a new connection and a new thread with each call. Here each connection has one thread
that answers request after request. Bodies are read whole before the application sees them, so nothing is left in
the stream that could be taken for the next request.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import InternalServerError
from werkzeug.serving import ThreadedWSGIServer

log = logging.getLogger(__name__)

LARGEST_BODY = 1 << 30
"""Bytes of a request's body; a part of an upload is far smaller."""


class KeepAliveHandler(MotoRequestHandler):
    """Answers the requests of one connection, one after another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300
    """Seconds after which an idle connection is closed."""

    def run_wsgi(self) -> None:
        """Answers one request; ``http.server`` calls it for every method."""
        self.environ = environ = self.make_environ()
        if not self._read_body(environ):
            return
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> object:
            answer[:] = [status, headers]
            return None

        try:
            body = self._body_of(self.server.app, environ, start_response)
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            body = self._body_of(InternalServerError(), environ, start_response)
        self._send(answer[0], answer[1], body)

    @staticmethod
    def _body_of(app: Any, environ: dict[str, Any], start_response: Any) -> bytes:
        pieces = app(environ, start_response)
        try:
            return b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _read_body(self, environ: dict[str, Any]) -> bool:
        try:
            length = int(environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return False
        if environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read()
            environ["CONTENT_LENGTH"] = str(len(body))
        else:
            body = self.rfile.read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        return True

    def _send(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        lines = [f"{self.protocol_version} {code} {reason}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in ("connection", "date")]
        if self.command == "HEAD" or code in ("204", "304"):
            body = b""
        if not any(name.lower() == "content-length" for name, _ in headers) and code not in ("204", "304"):
            lines.append(f"Content-Length: {len(body)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        # One write: a second small packet would wait for the acknowledgement of the first.
        if len(body) < 65_536:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            self.wfile.write(body)

    def log(self, type: str, message: str, *args: object) -> None:
        """No access log; what goes wrong with a connection is its client's to tell."""
        log.debug(message.rstrip(), *args)


class LoopbackServer(ThreadedWSGIServer):
    """A listener on 127.0.0.1; its threads never keep the process from ending.

    Parameters:
        port: 0 takes a free one.
        app: the WSGI application.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, app: Any) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(256)
            # Handed over open: werkzeug prints and exits when it cannot bind.
            super().__init__("127.0.0.1", listener.getsockname()[1], app, KeepAliveHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Ends every open connection, and with it its thread."""
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):  # its client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection of %s ended", client_address, exc_info=True)

    def log(self, type: str, message: str, *args: object) -> None:
        log.debug(message.rstrip(), *args)
