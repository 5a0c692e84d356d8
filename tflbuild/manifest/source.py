"""`source`: where a model comes from. What a format takes, the format itself says."""

from __future__ import annotations

import os
from dataclasses import replace

from tflbuild.errors import ManifestError
from tflbuild.manifest import made
from tflbuild.manifest.code import build_args, build_code
from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.model import ParamsRef, Source
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.yamlfile import Node, describe
from tflbuild.sources import FORMATS
from tflbuild.sources.base import Format

MAIN_FILE = "saved_model.pb"  # of a folder; the others are looked at when they are read


def build_source(model: ModelNodes) -> Source:
    """The source of a model; an empty one when something is wrong with it."""
    source = get(model.tree, "source")
    name = text(get(source, "format"))
    if source is None or name is None:
        missing = "source" if source is None else "source.format"
        example = "source: {format: saved_model, path: FOLDER}"
        model.key_problem(f"model {model.name!r} has no `{missing}`; write `{example}`", source)
        return Source("")
    form = FORMATS[name]
    keys = (*form.KEYS, *(made.KEYS if "path" in form.KEYS else ()))
    for key, given in entries(get(model.own, "source")).items():
        if key != "format" and key not in keys and given.value is not None:
            model.key_problem(f"{key!r} has no effect with format {name}; remove it", given)
    base = made.build_made(model, source, form) if "path" in form.KEYS else None
    main = form.KEYS[0]
    given_keys = [k for k in ("path", "python") if k in form.KEYS and get(source, k) is not None]
    if len(given_keys) > 1:
        model.key_problem(
            f"a {name} source is one of `path` and `python`; remove one", get(source, "python")
        )
        return Source(name)
    if base is not None and "python" in given_keys:
        model.key_problem(
            f"a source that is {'fetched' if base.fetch else 'generated'} is read from a file, not"
            " made by `python`; remove one",
            get(source, "python"),
        )
        return Source(name)
    if base is None and not given_keys:
        example = f"source: {{format: {name}, {main}: {form.EXAMPLE}}}"
        model.key_problem(f"model {model.name!r} has no `source.{main}`; write `{example}`", source)
        return Source(name)

    def taken(key: str) -> Node | None:
        """A key that this format takes; others may come from `defaults`."""
        return get(source, key) if key in form.KEYS else None

    path, args, params = taken("path"), taken("args"), taken("params")
    if args is not None and params is not None and not isinstance(args.value, dict):
        model.problem("with `params`, args are keyword arguments: write a mapping", args)
    if base is None:
        base = Source("", path="" if path is None else _path(model, path, form))
    return replace(
        base,
        format=name,
        signatures=_signatures(taken("signature"), taken("signatures")),
        tags=strings(taken("tags")),
        python=build_code(model, taken("python")),
        args=build_args(model, taken("args")),
        params=_params(model, taken("params")),
    )


def _params(model: ModelNodes, node: Node | None) -> ParamsRef | None:
    if node is None:
        return None
    given = {key: get(node, key) for key in ("npz", "python", "args")}
    if (given["npz"] is None) == (given["python"] is None):
        model.problem("source.params is one of `npz: FILE` and `python: module:function`", node)
        return None
    if given["npz"] is not None:
        if given["args"] is not None:
            model.key_problem("'args' has no effect with npz; remove it", given["args"])
        return ParamsRef(npz=model.file(given["npz"], ".npz"))
    return ParamsRef(
        python=build_code(model, given["python"]), args=build_args(model, given["args"])
    )


def _signatures(one: Node | None, several: Node | None) -> tuple[str, ...]:
    if several is not None and entries(several):
        return tuple(entries(several))
    name = text(one)
    return () if name is None else (name,)


def _path(model: ModelNodes, node: Node, form: Format) -> str:
    """A path that exists and is what the format reads, relative to the root; else ""."""
    paths = model.context.paths
    try:
        path = paths.absolute(node)
        if not os.path.exists(path):
            raise paths.missing(node, path, "folder" if form.FOLDER else "file")
        if not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe or device may never end
            raise ManifestError(
                f"{describe(node.value)} is not a regular file or a folder", node.position
            )
        paths.refuse_pointer(node, os.path.join(path, MAIN_FILE) if os.path.isdir(path) else path)
        if problem := form.problem(path, describe(node.value)):
            raise ManifestError(problem, node.position)
        return paths.relative(path)
    except ManifestError as error:
        model.context.problems.take(error)
    return ""
