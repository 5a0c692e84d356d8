"""The zygote: a process that imports the heavy modules once and forks a child per action.

It is executed as a script (never imported by the parent), with a made environment and the
parent's module path. It imports and does nothing else, so that a fork is safe: before each
fork it checks that no thread has appeared and that TensorFlow's eager context is still
uninitialised (one eager op here would make every later child hang).

Only the zygote forks, waits for, times out and kills its children. When the parent dies, the
socket reaches end of file, or the kernel sends the death signal: either way nothing is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any, NoReturn

GRACE = 2.0  # seconds between SIGTERM and SIGKILL


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends; exit at once if it already has."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def eager_context_used() -> bool:
    """True when somebody ran an eager TensorFlow op in this process."""
    module = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(module, "_context", None)
    return bool(context is not None and getattr(context, "_initialized", False))


class Child:
    """A forked action, until it is reaped."""

    def __init__(self, identity: int, pid: int, timeout: float) -> None:
        self.identity = identity
        self.pid = pid
        self.started = time.monotonic()
        self.deadline = self.started + timeout
        self.timed_out = False
        self.killed = False

    def signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def tick(self, now: float) -> None:
        """Past its deadline: SIGTERM, and after a grace time SIGKILL, to the whole group."""
        if now < self.deadline:
            return
        if not self.timed_out and not self.killed:
            self.timed_out = True
            self.deadline = now + GRACE
            self.signal_group(signal.SIGTERM)
        else:
            self.signal_group(signal.SIGKILL)
            self.deadline = now + GRACE


class Zygote:
    def __init__(self, sock: socket.socket) -> None:
        from tflbuild.engine.protocol import Unpacker, pack

        self.sock = sock
        self.pack = pack
        self.unpacker = Unpacker()
        self.children: dict[int, Child] = {}  # by pid
        self.threads = thread_count()
        self.selector = selectors.DefaultSelector()
        self.selector.register(sock, selectors.EVENT_READ)
        # SIGCHLD wakes the selector through a pipe; the handler itself does nothing.
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is the parent's to handle
        self.selector.register(self.wake_read, selectors.EVENT_READ)

    def send(self, message: dict[str, Any]) -> None:
        try:
            self.sock.sendall(self.pack(message))
        except OSError:
            self.leave()

    def leave(self) -> NoReturn:
        for child in self.children.values():
            child.signal_group(signal.SIGKILL)
        os._exit(0)

    def serve(self) -> NoReturn:
        while True:
            deadlines = [c.deadline for c in self.children.values()]
            timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            for key, _ in self.selector.select(timeout):
                if key.fd == self.wake_read:
                    os.read(self.wake_read, 4096)
                else:
                    self.receive()
            self.reap()
            now = time.monotonic()
            for child in self.children.values():
                child.tick(now)

    def receive(self) -> None:
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        if not data:  # the parent is gone
            self.leave()
        for message in self.unpacker.feed(data):
            if message["op"] == "run":
                self.fork(message)
            elif message["op"] == "kill":
                for child in self.children.values():
                    if child.identity == message["id"]:
                        child.killed = True
                        child.deadline = 0.0
                        child.signal_group(signal.SIGTERM)
                        child.deadline = time.monotonic() + GRACE

    def fork(self, request: dict[str, Any]) -> None:
        if thread_count() > self.threads or eager_context_used():
            self.send({"id": request["id"], "unsafe": "the zygote is no longer safe to fork"})
            return
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                self.become_child(zygote, request)
            finally:  # whatever happens, never return into the zygote's loop
                os._exit(70)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # also done by the child: whoever comes first
        self.children[pid] = Child(request["id"], pid, request["timeout"])

    def become_child(self, zygote: int, request: dict[str, Any]) -> NoReturn:
        os.setpgid(0, 0)
        die_with_parent(zygote)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self.sock.close()
        self.selector.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from tflbuild.engine.child import run_request

        run_request(request)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # no atexit handlers: they belong to the zygote's libraries

    def reap(self) -> None:
        for pid in list(self.children):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if not done:
                continue
            child = self.children.pop(pid)
            child.signal_group(signal.SIGKILL)  # what it may have left in its group
            self.send(
                {
                    "id": child.identity,
                    "exit": os.waitstatus_to_exitcode(status),  # negative: -signal
                    "timed_out": child.timed_out,
                    "killed": child.killed,
                    "max_rss": usage.ru_maxrss * 1024,
                    "seconds": time.monotonic() - child.started,
                }
            )


def main() -> NoReturn:
    descriptor, parent, config = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    die_with_parent(parent)
    sys.path[:] = config["sys_path"]
    sock = socket.socket(fileno=descriptor)
    import importlib

    from tflbuild.engine.protocol import pack

    started = time.monotonic()
    try:
        for name in config["modules"]:
            importlib.import_module(name)
    except Exception as error:
        sock.sendall(pack({"fatal": f"{type(error).__name__}: {error}"}))
        os._exit(1)
    import gc

    gc.collect()
    gc.freeze()  # keep the collector from touching, and so copying, shared pages
    zygote = Zygote(sock)
    zygote.send({"ready": time.monotonic() - started})
    zygote.serve()


if __name__ == "__main__":
    main()
