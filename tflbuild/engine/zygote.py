"""The parent's side of a zygote: start it, hand it actions, hear how they ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tflbuild.engine.protocol import Message, Unpacker, pack
from tflbuild.environment import worker_environment, worker_path

# What each zygote imports before it forks. User code, JAX and PyTorch are never among these.
ZYGOTES: Mapping[str, tuple[str, ...]] = {
    "tf": (
        "numpy",
        "tensorflow",
        "keras",
        "tf_keras",
        "ai_edge_litert.schema_py_generated",
        "tflbuild.stages.lower",
        "tflbuild.stages.reference",
        "tflbuild.stages.evaluate",
        "tflbuild.stages.convert",
        "tflbuild.stages.tf_preload",
        "tflbuild.engine.child",
    ),
    "lite": (
        "numpy",
        "ai_edge_litert.interpreter",
        "ai_edge_litert.schema_py_generated",
        "tflbuild.stages.adopt",
        "tflbuild.stages.baseline",
        "tflbuild.stages.compat",
        "tflbuild.stages.data",
        "tflbuild.stages.debug",
        "tflbuild.debugging.measuring",
        "tflbuild.stages.inspect",
        "tflbuild.stages.lower_file",
        "tflbuild.stages.measure",
        "tflbuild.stages.quantize",
        "tflbuild.stages.reference_arrays",
        "tflbuild.stages.validate",
        "tflbuild.tflite.digest",
        "tflbuild.engine.child",
    ),
}


class ZygoteDied(Exception):
    """The zygote is gone; `reason` says what it said last."""


class ZygoteProcess:
    """A running zygote. `fileno` is readable when there is something to `receive`."""

    def __init__(self, kind: str, scratch: Path, log: Path) -> None:
        self.kind = kind
        self.log = log
        self.ready = False
        home = scratch / f"home-{kind}"
        home.mkdir(parents=True, exist_ok=True)
        config = {"sys_path": worker_path(), "modules": ZYGOTES[kind]}
        script = str(Path(__file__).with_name("zygote_main.py"))
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        try:
            with log.open("wb") as stream:
                self.process = subprocess.Popen(
                    [
                        sys.executable,
                        script,
                        str(theirs.fileno()),
                        str(os.getpid()),
                        json.dumps(config),
                    ],
                    env=worker_environment(home),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    cwd=home,
                    start_new_session=True,  # a ^C at the terminal reaches the parent alone
                )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.sock = ours
        self._unpacker = Unpacker()

    def fileno(self) -> int:
        return self.sock.fileno()

    def submit(self, message: Message) -> None:
        """Hand over one action. Raises ZygoteDied."""
        try:
            self.sock.sendall(pack({"op": "run", **message}))
        except OSError as error:
            raise ZygoteDied(str(error)) from error

    def kill(self, identity: int) -> None:
        """End one action; its end is still reported. Raises ZygoteDied."""
        try:
            self.sock.sendall(pack({"op": "kill", "id": identity}))
        except OSError as error:
            raise ZygoteDied(str(error)) from error

    def receive(self) -> list[Message]:
        """The messages that have arrived. Raises ZygoteDied at end of file."""
        try:
            data = self.sock.recv(1 << 20)
        except OSError as error:
            raise ZygoteDied(str(error)) from error
        if not data:
            code = self.process.wait()
            raise ZygoteDied(f"the {self.kind} worker ended with status {code} (see {self.log})")
        messages = []
        for message in self._unpacker.feed(data):
            if "ready" in message:
                self.ready = True
            elif "fatal" in message:
                raise ZygoteDied(f"the {self.kind} worker cannot start: {message['fatal']}")
            else:
                messages.append(message)
        return messages

    def close(self) -> None:
        """End it and everything below it, and wait until it is gone."""
        self.sock.close()
        try:
            self.process.wait(timeout=1.0 if self.ready else 0.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ZygotePool:
    """The zygotes of one or several builds, by kind: started when first asked for.

    A build makes its own and ends it; whoever builds again and again (tests, a watching
    process) keeps one, and pays for the import of TensorFlow once.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.zygotes: dict[str, ZygoteProcess] = {}

    def get(self, kind: str) -> ZygoteProcess:
        """Raises OSError when it cannot be started."""
        known = self.zygotes.get(kind)
        if known is not None and known.process.poll() is not None:  # died between two builds
            self.drop(kind)
        if kind not in self.zygotes:
            self.zygotes[kind] = ZygoteProcess(kind, self.home, self.home / f"zygote-{kind}.log")
        return self.zygotes[kind]

    def drop(self, kind: str) -> None:
        """End one, with everything below it."""
        zygote = self.zygotes.pop(kind, None)
        if zygote is not None:
            zygote.close()

    def close(self) -> None:
        for kind in list(self.zygotes):
            self.drop(kind)
