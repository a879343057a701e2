"""A gate between a client and the embedded AWS that can hold uploads back or answer them with errors."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_PER_HOP = {"connection", "transfer-encoding", "content-length", "expect", "date", "server"}


class Gate:
    """Passes requests on.

    Parameters:
        behind: URL of the embedded AWS.
        free: so many photos may be uploaded; what comes after is held, or answered with ``status`` if that is not 0.
    """

    def __init__(self, behind: str, free: int, status: int = 0) -> None:
        self._behind = urlsplit(behind).netloc
        self._lock = threading.Lock()
        self._open = threading.Event()
        self.reached = threading.Event()
        self.free, self.status = free, status
        self.uploaded: list[str] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                gate._pass(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815 - http.server's names

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def let_all_pass(self) -> None:
        self.free, self.status = 10**9, 0
        self._open.set()

    def close(self) -> None:
        self.let_all_pass()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _pass(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        photo = request.command == "PUT" and "/in/0" in request.path
        if photo and not self._admit():
            self.reached.set()
            if self.status:
                self._refuse(request)
                return
            self._open.wait(60)
        connection = http.client.HTTPConnection(self._behind, timeout=60)
        connection.request(request.command, request.path, body, dict(request.headers))
        answer = connection.getresponse()
        data = answer.read()
        if photo:
            self.uploaded.append(request.path.rsplit("/", 1)[1])
        length = answer.headers["Content-Length"] if request.command == "HEAD" else str(len(data))
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _PER_HOP]
        self._answer(request, answer.status, headers, length, data)
        connection.close()

    def _admit(self) -> bool:
        with self._lock:
            self.free -= 1
            return self.free >= 0

    def _refuse(self, request: BaseHTTPRequestHandler) -> None:
        text = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self._answer(request, self.status, [("Content-Type", "application/xml")], str(len(text)), text)

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], length: str | None, data: bytes
    ) -> None:
        try:
            request.send_response(status)
            for name, value in headers:
                request.send_header(name, value)
            request.send_header("Content-Length", length or "0")
            request.end_headers()
            request.wfile.write(data if request.command != "HEAD" else b"")
        except OSError:  # the client has gone
            request.close_connection = True
