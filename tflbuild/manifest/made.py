"""Sources that are made before they are read: `fetch` downloads, `generate` runs a command."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from tflbuild.errors import ManifestError
from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.includes import expand, is_glob
from tflbuild.manifest.model import Fetch, Generate, Source
from tflbuild.manifest.nodes import get, strings
from tflbuild.manifest.paths import lies_in
from tflbuild.manifest.problems import nearest
from tflbuild.manifest.quantity import parse_size
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.sources.base import Format

KEYS = ("fetch", "sha256", "max_size", "generate")  # of `source`, for formats that have a `path`

MAX_SIZE = 4 << 30  # bytes
ARCHIVES = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2|txz|zip)$", re.IGNORECASE)
_EXAMPLE = "generate: {command: python train.py, inputs: [train.py], outputs: [model.keras]}"


def build_made(model: ModelNodes, source: Node, form: Format) -> Source | None:
    """The source that is fetched or generated, an empty one when something is wrong with it;
    None for one that lies in the workspace."""
    fetch, generate = get(source, "fetch"), get(source, "generate")
    if fetch is None:
        for key in ("sha256", "max_size"):
            if (node := get(source, key)) is not None:
                model.key_problem(f"{key!r} has no effect without `fetch`; remove it", node)
    if fetch is not None and generate is not None:
        model.key_problem("a source is fetched or generated, not both; remove one", generate)
        return Source("")
    if fetch is not None:
        return _fetched(model, source, fetch, form)
    if generate is not None:
        return _generated(model, source, generate, form)
    return None


def _fetched(model: ModelNodes, source: Node, node: Node, form: Format) -> Source:
    url, path = str(node.value), get(source, "path")
    if problem := url_problem(url):
        model.problem(problem, node)
    sha256 = get(source, "sha256")
    if sha256 is None:
        model.key_problem(
            "`fetch` needs the `sha256` of what it must give; "
            f"`curl -L {shlex.quote(url)} | sha256sum` prints it",
            node,
        )
    max_size, limit = get(source, "max_size"), MAX_SIZE
    given: Any = None if max_size is None else max_size.value
    try:
        limit = MAX_SIZE if given is None else parse_size(given)
    except ValueError as error:
        model.problem(str(error), max_size)
    name = url_name(url)
    member = ""
    if path is not None:
        member = posixpath.normpath(str(path.value))
        if member.startswith(("/", "../")) or member == "..":
            model.problem(
                f"{describe(path.value)} leads out of what is fetched; with `fetch`, `path` is"
                " the name of a member of the archive",
                path,
            )
    elif ARCHIVES.search(name) and not form.FOLDER:
        model.key_problem(
            f"{describe(name)} is an archive; name the member to read: `path: {form.EXAMPLE}`", node
        )
    digest = "" if sha256 is None else str(sha256.value).lower()
    return Source("", path=member, fetch=Fetch(url, digest, limit))


def url_name(url: str) -> str:
    """The last segment of a URL's path."""
    return posixpath.basename(url.partition("#")[0].partition("?")[0].partition("://")[2])


def url_problem(url: str) -> str:
    """What is wrong with a URL that has the right beginning; "" when nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{describe(url)} is no URL: {error}"
    if not host:
        return f"{describe(url)} names no host; write https://HOST/PATH"
    if "@" in parts.netloc:
        return "a URL with a user or password is not sent with them; use one that needs none"
    if parts.fragment or url.endswith("#"):
        return f"what follows # in {describe(url)} has no effect; remove it"
    if not url.isascii():
        return f"{describe(url)} holds letters that URLs write as %XX; write them so"
    return ""


def _generated(model: ModelNodes, source: Node, node: Node, form: Format) -> Source:
    command, inputs, outputs = (get(node, key) for key in ("command", "inputs", "outputs"))
    for key, value in (("command", command), ("outputs", outputs)):
        if value is None:
            model.key_problem(f"`generate` has no `{key}`; write `{_EXAMPLE}`", node)
    if command is None or outputs is None:
        return Source("")
    argv = strings(command) or str(command.value)
    words = _words(argv)
    if not words or not words[0]:
        model.problem("the command is empty; write a program and its arguments", command)
        return Source("")
    paths = model.context.paths
    folder = paths.folder_of(command)
    files = _inputs(model, inputs)
    made = _outputs(model, outputs, folder, files)
    _undeclared(model, command, words, folder, files, made)
    generate = Generate(
        command=argv,
        folder=paths.relative(folder),
        inputs=tuple(
            (paths.relative(paths.folder_of(item)), str(item.value)) for item in _items(inputs)
        ),
        skip=tuple(sorted(paths.relative(path) for path in paths.skip)),
        outputs=tuple(made),
        env=strings(get(node, "env")),
    )
    return Source("", path=_output_path(model, source, node, folder, made), generate=generate)


def _words(command: str | tuple[str, ...]) -> list[str]:
    if not isinstance(command, str):
        return list(command)
    try:
        return shlex.split(command)
    except ValueError:  # the shell says what is wrong with it
        return command.split()


def _items(node: Node | None) -> list[Node]:
    return node.value if node is not None and isinstance(node.value, list) else []


def _inputs(model: ModelNodes, node: Node | None) -> set[str]:
    """The files that match now, absolute; each pattern must match."""
    found: set[str] = set()
    for item in _items(node):
        try:
            found |= set(_matches(model, item))
        except ManifestError as error:
            model.context.problems.take(error)
    return found


def _matches(model: ModelNodes, item: Node) -> list[str]:
    paths, pattern = model.context.paths, str(item.value)
    if not is_glob(pattern):
        path = paths.absolute(item)
        if os.path.isdir(path):
            raise ManifestError(
                f"{describe(pattern)} is a folder; write {describe(pattern.rstrip('/') + '/**')}",
                item.position,
            )
        if not os.path.isfile(path):
            raise paths.missing(item, path, "file")
        paths.refuse_pointer(item, path)
        return [path]
    found, listed = expand(pattern, paths.folder_of(item), paths.skip)
    if not all(paths.inside(path) for path in (*found, *listed)):
        raise ManifestError(f"{describe(pattern)} leaves the workspace", item.position)
    if not found:
        raise ManifestError(
            f"{describe(pattern)} matches no file; correct or remove it", item.position
        )
    return found


def _outputs(model: ModelNodes, node: Node, folder: str, inputs: set[str]) -> list[str]:
    """The outputs, relative to the folder of the command."""
    paths = model.context.paths
    found: list[str] = []
    for item in _items(node):
        try:
            path = paths.absolute(item)
        except ManifestError as error:
            model.context.problems.take(error)
            continue
        name = os.path.relpath(path, folder).replace(os.sep, "/")
        shown = describe(item.value)
        if name == "." or name.startswith("../"):
            model.problem(f"output {shown} must lie below the folder of the command", item)
        elif any(lies_in(file, path) or lies_in(path, file) for file in inputs):
            model.problem(
                f"{shown} is an input too, or holds one; give the output a name of its own", item
            )
        elif other := next((o for o in found if lies_in(name, o) or lies_in(o, name)), None):
            model.problem(f"output {shown} and output {describe(other)} overlap; keep one", item)
        else:
            found.append(name)
    return found


def _undeclared(
    model: ModelNodes,
    command: Node,
    words: list[str],
    folder: str,
    inputs: set[str],
    outputs: list[str],
) -> None:
    """A file that the command names, but that will not be there for it."""
    for word in words:
        path = os.path.normpath(os.path.join(folder, word.rpartition("=")[2]))
        name = os.path.relpath(path, folder)
        made = any(lies_in(name, output) for output in outputs)
        if path not in inputs and not made and os.path.isfile(path):
            if model.context.paths.inside(path):
                model.problem(
                    f"the command names {describe(name)}, which is not among `inputs` and so not"
                    " there for it; add it to them",
                    command,
                )


def _output_path(
    model: ModelNodes, source: Node, generate: Node, folder: str, outputs: list[str]
) -> str:
    """The output to load, relative to the folder of the command."""
    path = get(source, "path")
    known = ", ".join(outputs)
    if path is None:
        if len(outputs) > 1:
            model.key_problem(
                f"there are several outputs ({known}); name the one to load: `path: {outputs[0]}`",
                generate,
            )
        return outputs[0] if outputs else ""
    where = os.path.join(model.context.paths.folder_of(path), str(path.value))
    name = os.path.relpath(os.path.normpath(where), folder).replace(os.sep, "/")
    if outputs and not any(lies_in(name, output) for output in outputs):
        hint = nearest(name, outputs)
        model.problem(f"{describe(path.value)} is not among the outputs ({known}){hint}", path)
    return name
