"""From the root manifest to a Workspace: reading, includes, defaults, names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tflbuild.errors import ManifestError, Position
from tflbuild.manifest.build import build_model
from tflbuild.manifest.context import Context
from tflbuild.manifest.digest import section_digest
from tflbuild.manifest.extends import chain, layers
from tflbuild.manifest.includes import expand, is_glob
from tflbuild.manifest.merge import merge
from tflbuild.manifest.model import Target, Workspace
from tflbuild.manifest.nodes import entries, get
from tflbuild.manifest.paths import Paths
from tflbuild.manifest.problems import Problems
from tflbuild.manifest.root import MANIFEST
from tflbuild.manifest.schema import Violation, check
from tflbuild.manifest.targets import RUNTIME_NAMES, build_target
from tflbuild.manifest.yamlfile import Node, describe, read_yaml

__all__ = ["load_workspace", "section_digest"]

BUILT_IN = {name: Target(name, name) for name in RUNTIME_NAMES}
RESERVED = "summary.json"  # build/reports/summary.json
MAX_CHAIN = 64  # manifests that include one another in a row
_OUR_FOLDERS = (".tflbuild", ".git")


def load_workspace(root_manifest: Path, cwd: Path | None = None) -> Workspace:
    """Everything that the root manifest and those it includes say.

    Positions are relative to `cwd` where it lies in the workspace or the manifest beneath it,
    else to the root.
    Raises ManifestErrors with as many errors as can be found in one go.
    """
    root = Path(os.path.realpath(root_manifest.parent))
    loader = _Loader(root, cwd)
    loader.read(str(root / root_manifest.name), _Scope(None, False, ()))
    return loader.workspace()


@dataclass(frozen=True)
class _Scope:
    """What a manifest takes over from the one that includes it."""

    defaults: Node | None
    tainted: bool  # the defaults have errors: no model can be built on them
    chain: tuple[str, ...]  # the manifests that lead here, resolved


@dataclass(frozen=True)
class _Declared:
    """A model as written, with what lies beneath it."""

    node: Node
    scope: _Scope
    broken: bool


@dataclass
class _Loader:
    root: Path
    cwd: Path | None
    problems: Problems = field(default_factory=Problems)

    def __post_init__(self) -> None:
        self.paths = Paths(self.root, self.cwd)
        self.manifests: dict[str, str] = {}  # resolved path → path relative to the root
        self.listed: set[str] = set()
        self.models: dict[str, _Declared] = {}
        self.targets: dict[str, Target] = dict(BUILT_IN)
        self.target_places: dict[str, Position] = {}
        self.folded: dict[tuple[str, str], tuple[str, Position]] = {}
        self.project = {"name": self.root.name, "build_dir": "build", "dist_dir": "dist"}
        self.declares = False  # whether any manifest has a `models` key

    def read(self, path: str, scope: _Scope) -> None:
        """Reads one manifest, and those it includes, depth first."""
        real = os.path.realpath(path)
        self.manifests[real] = self.paths.relative(path)
        label = self.paths.label(path)
        try:
            tree = read_yaml(Path(path), label)
        except ManifestError as error:
            self.problems.take(error)
            return
        violations = check(tree)
        for violation in violations:
            self.problems.take(violation.error)
        broken = {v.path[:2] for v in violations} | {v.path[:1] for v in violations if v.path}
        if any(not v.path for v in violations):
            return
        if scope.chain:
            self._refuse_project(tree)
        else:
            self._read_root_keys(tree, broken)
        inner = self._defaults(tree, scope, ("defaults",) in broken, real)
        self._declare_targets(tree, violations)
        self._declare_models(tree, inner, broken)
        if ("include",) not in broken:
            self._include(get(tree, "include"), inner)

    def workspace(self) -> Workspace:
        """The finished workspace; raises everything that was wrong."""
        manifest = self.paths.label(str(self.root / next(iter(self.manifests.values()))))
        if not self.declares and not self.problems:
            self.problems.add(
                "no manifest of this workspace has `models`; write `models:` with a model in it",
                Position(manifest, 1, 1),
            )
        self.paths.skip = frozenset(
            str(self.root / self.project[key]) for key in ("build_dir", "dist_dir")
        )
        context = Context(
            self.paths, self.targets, frozenset({*self.targets, *self.target_places}), self.problems
        )
        models = []
        for name, declared in sorted(self.models.items()):
            if declared.broken or declared.scope.tainted:
                continue
            before = len(self.problems)
            merged = self._merged(name)
            if merged is None or len(self.problems) > before:
                continue  # what is missing now would be said a second time
            if (model := build_model(name, declared.node, merged, context)) is not None:
                models.append(model)
        for key in ("build_dir", "dist_dir"):
            real = Path(os.path.realpath(self.root / self.project[key]))
            if not real.is_relative_to(self.root):
                self.problems.add(
                    f"{key} {self.project[key]!r} is a symbolic link that leaves the workspace",
                    Position(manifest, 1, 1),
                )
        self.problems.raise_any()
        return Workspace(
            root=self.root,
            **self.project,
            targets=self.targets,
            models=tuple(models),
            manifests=tuple(self.manifests.values()),
            listed=tuple(sorted(self.paths.relative(folder) for folder in self.listed)),
        )

    def _merged(self, name: str) -> Node | None:
        """A model on top of what it extends and of `defaults`; None when some of it is wrong."""
        names = chain(name, self.models, self.problems)
        if names is None or any(
            self.models[other].broken or self.models[other].scope.tainted for other in names
        ):
            return None
        beneath: Node | None = None
        *lower, own = layers(names, self.models)
        for layer in lower:  # of most models just `defaults`, in which nothing is null any more
            beneath = merge(beneath, layer, self.problems) if len(lower) > 1 else layer
        return merge(beneath, own, self.problems)

    def _refuse_project(self, tree: Node) -> None:
        if (project := get(tree, "project")) is not None:
            self.problems.add(
                f"`project` belongs to the root manifest ({next(iter(self.manifests.values()))}); "
                "move it there",
                project.key_position,
            )

    def _read_root_keys(self, tree: Node, broken: set[tuple[str | int, ...]]) -> None:
        if get(tree, "version") is None:
            self.problems.add("no `version`; begin with `version: 1`", tree.position)
        folders: dict[str, Node] = {}
        for key, node in entries(get(tree, "project")).items():
            if ("project", key) in broken:
                continue
            if key == "name":
                self.project["name"] = str(node.value)
                continue
            try:
                path = self.paths.absolute(node)
            except ManifestError as error:
                self.problems.take(error)
                continue
            relative = self.paths.relative(path)
            if relative == "." or relative.split("/")[0] in _OUR_FOLDERS:
                self.problems.add(
                    f"{key} cannot be {describe(node.value)}; give it a folder of its own",
                    node.position,
                )
            self.project[key] = relative
            folders[key] = node
        build, dist = self.project["build_dir"] + "/", self.project["dist_dir"] + "/"
        if folders and (build.startswith(dist) or dist.startswith(build)):
            self.problems.add(
                "build_dir and dist_dir cannot hold one another; give each a folder of its own",
                list(folders.values())[-1].position,
            )

    def _defaults(self, tree: Node, scope: _Scope, broken: bool, real: str) -> _Scope:
        chain = (*scope.chain, real)
        own = get(tree, "defaults")
        if (extends := get(own, "extends")) is not None:
            self.problems.add(
                "`extends` belongs to a model; `defaults` are beneath all of them anyway",
                extends.key_position,
            )
            broken = True
        if own is None or broken or scope.tainted:
            return _Scope(scope.defaults, scope.tainted or broken, chain)
        if own.value is None:
            self.problems.add(
                "`defaults` is nothing (null); write {} for an empty one", own.position
            )
            return _Scope(scope.defaults, True, chain)
        before = len(self.problems)
        merged = merge(scope.defaults, own, self.problems)
        return _Scope(merged, len(self.problems) > before, chain)

    def _declare_targets(self, tree: Node, violations: list[Violation]) -> None:
        broken = {v.path[1] for v in violations if v.path[0] == "targets" and len(v.path) > 1}
        for name, node in entries(get(tree, "targets")).items():
            if name in BUILT_IN:
                self.problems.add(
                    f"{name!r} is a built-in runtime; give the target another name",
                    node.key_position,
                )
                continue
            if not self._unique("target", name, node):
                continue
            self.target_places[name] = node.key_position
            if name in broken:
                continue
            if (target := build_target(name, node, self.paths, self.problems)) is not None:
                self.targets[name] = target

    def _declare_models(
        self, tree: Node, scope: _Scope, broken: set[tuple[str | int, ...]]
    ) -> None:
        models = get(tree, "models")
        self.declares = self.declares or models is not None
        for name, node in entries(models).items():
            if not self._unique("model", name, node):
                continue
            bad = ("models", name) in broken
            if node.value is None and not bad:
                bad = True
                self.problems.add(
                    f"model {name!r} is nothing (null); give it a source, or {{}} when `defaults` "
                    "say all",
                    node.key_position,
                )
            self.models[name] = _Declared(node, scope, bad)

    def _unique(self, kind: str, name: str, node: Node) -> bool:
        if kind == "model" and name.lower() == RESERVED:
            self.problems.add(f"a model cannot be named {name!r}: a report is", node.key_position)
            return False
        if kind == "target" and name not in BUILT_IN and name.lower() in BUILT_IN:
            self.problems.add(
                f"target {name!r} differs from the built-in {name.lower()!r} in case alone;"
                " rename it",
                node.key_position,
            )
            return False
        first, place = self.folded.setdefault((kind, name.lower()), (name, node.key_position))
        if place == node.key_position:
            return True
        same = f"{kind} {name!r} is declared twice, first at {place}"
        if first != name:
            same = f"{kind}s {first!r} (at {place}) and {name!r} differ in case alone"
        self.problems.add(f"{same}; rename one", node.key_position)
        return False

    def _include(self, node: Node | None, scope: _Scope) -> None:
        holder = scope.chain[-1]
        for item in node.value if node is not None and isinstance(node.value, list) else ():
            for path in self._matches(item, holder):
                real = os.path.realpath(path)
                if real in scope.chain:
                    loop = [*scope.chain[scope.chain.index(real) :], real]
                    names = " → ".join(self.manifests[step] for step in loop)
                    self.problems.add(
                        f"manifests include one another in a circle: {names}; remove one `include`",
                        item.position,
                    )
                elif len(scope.chain) >= MAX_CHAIN:
                    self.problems.add(
                        f"more than {MAX_CHAIN} manifests include one another in a row; "
                        "include them from the root",
                        item.position,
                    )
                elif real not in self.manifests:
                    self.read(path, scope)

    def _matches(self, item: Node, holder: str) -> list[str]:
        """The manifests that one entry of `include` names."""
        pattern = str(item.value)
        try:
            if not is_glob(pattern):
                path = self.paths.absolute(item)
                if os.path.isdir(path):
                    raise ManifestError(
                        f"{describe(pattern)} is a folder; write "
                        f"{describe(pattern.rstrip('/') + '/' + MANIFEST)}",
                        item.position,
                    )
                if not os.path.isfile(path):
                    raise self.paths.missing(item, path, "manifest")
                return [path]
            skip = frozenset(
                str(self.root / self.project[key]) for key in ("build_dir", "dist_dir")
            )
            found, listed = expand(pattern, self.paths.folder_of(item), skip)
            if not all(self.paths.inside(path) for path in (*found, *listed)):
                raise ManifestError(
                    f"{describe(pattern)} leaves the workspace; include only what lies in the "
                    "root manifest's folder",
                    item.position,
                )
            self.listed |= listed
            # `**/tflbuild.yaml` also names the manifest that says it.
            found = [path for path in found if os.path.realpath(path) != holder]
            if not found:
                raise ManifestError(
                    f"{describe(pattern)} matches no manifest; correct or remove it", item.position
                )
            return found
        except ManifestError as error:
            self.problems.take(error)
            return []
