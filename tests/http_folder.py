"""A real HTTP server on the loopback interface, whose answers a test writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)
        answers = self.server.answers.get(path, [not_found])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def give(self, content: bytes, length: int | None = None, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def put(self, path: str, *answers: Answer | bytes) -> str:
        """What a path gives, one answer a request, the last for ever; its URL."""
        self.answers[f"/{path}"] = [gives(a) if isinstance(a, bytes) else a for a in answers]
        return self.url(path)

    def handle_error(self, *_: object) -> None:
        """A client that went away."""

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


def gives(content: bytes, length: int | None = None) -> Answer:
    return lambda handler: handler.give(content, length)


def status(code: int, **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def trickles(content: bytes, pause: float) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for index in range(len(content)):
            handler.wfile.write(content[index : index + 1])
            handler.wfile.flush()
            time.sleep(pause)

    return answer


not_found = status(404)
