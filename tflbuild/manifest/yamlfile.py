"""A YAML file as a tree of values that know their places.

Built from the parser's events without recursion, and with every size bounded, so that a hostile
file costs a message and nothing more. No constructor of PyYAML runs: scalars follow the core
schema of YAML 1.2, where `yes`, `no` and `on` are strings.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tflbuild.errors import ManifestError, Position

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64
MAX_EXPANDED = 100_000  # nodes that aliases stand for
MAX_DIGITS = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Scalar: TypeAlias = "str | int | float | bool | None"


@dataclass(slots=True)  # not frozen: made by the hundred thousand, and that costs twice the time
class Node:
    """A value, where it begins, and where its key begins (its own place if it has no key)."""

    value: dict[str, Node] | list[Node] | Scalar
    position: Position
    key_position: Position

    def plain(self) -> Any:
        """The value without positions. Recursion is bounded by MAX_DEPTH."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_yaml(path: Path, file: str | None = None) -> Node:
    """Reads a YAML file whose root is a mapping; `file` is its name in positions."""
    name = str(path) if file is None else file
    return parse_yaml(_read(path, name), name)


def parse_yaml(data: bytes, file: str) -> Node:
    """The tree of a YAML document given as bytes. ManifestError says what is wrong, and where."""
    text = _decode(data, file)
    try:
        return _Builder(file).build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = " ".join((error.problem or "it cannot be parsed").split())
        if error.context:
            problem += f" ({' '.join(error.context.split())})"
        raise ManifestError(
            f"not YAML: {problem}{_remedy(problem, text, line, column)}",
            Position(file, line, column),
        ) from None
    except yaml.YAMLError as error:
        raise ManifestError(
            f"not YAML: {' '.join(str(error).split())}", Position(file, 1, 1)
        ) from None


def resolve_scalar(text: str) -> Scalar:
    """The value of a plain scalar by the YAML 1.2 core schema. ValueError: too many digits."""
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters; expected at most {MAX_DIGITS}")
    if match["int"]:
        return int(text)
    if match["octal"] or match["hex"]:
        return int(text[2:], 8 if match["octal"] else 16)
    return float(text)


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.capitalize(), word.upper()


_WORDS: dict[str, Scalar] = {
    "": None,
    "~": None,
    **dict.fromkeys(_spellings("null")),
    **dict.fromkeys(_spellings("true"), True),
    **dict.fromkeys(_spellings("false"), False),
    **{s + w: float(s + "inf") for s in ("", "+", "-") for w in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMERIC = re.compile(
    r"(?P<int>[-+]?[0-9]+)|(?P<octal>0o[0-7]+)|(?P<hex>0x[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what the parser counts as a line's end


def _read(path: Path, file: str) -> bytes:
    def refuse(why: str) -> ManifestError:
        return ManifestError(f"cannot read the manifest: {why}", Position(file, 1, 1))

    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refuse("it is a folder; name the file in it")
        if not stat.S_ISREG(mode):  # a FIFO would block, a device never end
            raise refuse("it is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise refuse(getattr(error, "strerror", None) or str(error)) from None
    if len(data) > MAX_BYTES:
        raise refuse(f"it is above {MAX_BYTES >> 20} MiB; split it with `include`")
    return data


def _decode(data: bytes, file: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ManifestError("the file is UTF-16; save it as UTF-8", Position(file, 1, 1))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig", "replace")
        raise ManifestError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8",
            _place(file, before),
        ) from None
    if bad := _CONTROL.search(text):
        raise ManifestError(
            f"control character U+{ord(bad[0]):04X} is not allowed; remove it",
            _place(file, text[: bad.start()]),
        )
    return text


def _place(file: str, before: str) -> Position:
    """The position that follows the text `before`."""
    lines = _BREAK.split(before)
    return Position(file, len(lines), len(lines[-1]) + 1)


def _remedy(problem: str, text: str, line: int, column: int) -> str:
    lines = _BREAK.split(text)
    at = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    if at == "\t":
        return "; indent with spaces, not with a tab"
    if at and "cannot start any token" in problem:
        return f"; put text that begins with {at} in quotes"
    return "; check quotes, brackets and indentation here"


@dataclass
class _Anchored:
    """What an alias stands for; `node` is None while the anchored value is still open."""

    node: Node | None
    position: Position
    size: int = 1
    height: int = 0


class _Frame:
    """An open collection. `size` and `height` count what it holds, with aliases expanded."""

    __slots__ = ("anchor", "height", "items", "key", "key_position", "mapping", "position", "size")

    def __init__(self, mapping: bool, anchor: str | None, position: Position) -> None:
        self.mapping: dict[str, Node] | None = {} if mapping else None
        self.items: list[Node] = []
        self.anchor = anchor
        self.position = position
        self.key: str | None = None
        self.key_position = position
        self.size = 1
        self.height = 1


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Anchored] = {}
        self.root: Node | None = None
        self.expanded = 0

    def build(self, events: Iterator[Any]) -> Node:
        documents = 0
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second YAML document; a manifest is one document")
        if self.root is None or self.root.value is None:
            raise ManifestError(
                "the manifest is empty; begin it with `version: 1`", Position(self.file, 1, 1)
            )
        return self.root

    def _at(self, event: Any) -> Position:
        return Position(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _error(self, event: Any, message: str) -> ManifestError:
        return ManifestError(message, self._at(event))

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            raise self._error(event, f"the YAML tag {_short(event.tag)} is not allowed; remove it")

    def _scalar(self, event: Any) -> None:
        self._refuse_tag(event)
        position = self._at(event)
        plain = event.implicit[0]
        try:
            value = resolve_scalar(event.value) if plain else event.value
        except ValueError as error:
            raise ManifestError(str(error), position) from None
        if event.style == '"' and (bad := _CONTROL.search(event.value)):  # "\\0"
            raise ManifestError(
                f"control character U+{ord(bad[0]):04X} is not allowed; remove it", position
            )
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.mapping is not None and frame.key is None:
            if event.anchor is not None:
                node = Node(value, position, position)
                self.anchors[event.anchor] = _Anchored(node, position)
            self._key(frame, value, plain, position)
        else:
            self._add(value, position, event.anchor, 1, 0)

    def _key(self, frame: _Frame, key: Scalar, plain: bool, position: Position) -> None:
        assert frame.mapping is not None
        if key == "<<" and plain:
            raise ManifestError(
                "the merge key `<<` is not part of YAML 1.2; use `defaults`, or an alias for the "
                "whole value",
                position,
            )
        if not isinstance(key, str):
            raise ManifestError(
                f"expected a name as key, got {describe(key)}; put it in quotes", position
            )
        if key in frame.mapping:
            first = frame.mapping[key].key_position
            raise ManifestError(
                f"duplicate key {_short(key)}, first at {first}; keep one of them", position
            )
        frame.key, frame.key_position = key, position
        frame.size += 1

    def _open(self, event: Any) -> None:
        self._refuse_tag(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        position = self._at(event)
        if not self.stack and not mapping:
            raise ManifestError(
                "expected a mapping that begins with `version: 1`, got a list", position
            )
        self._refuse_key(event, "a mapping" if mapping else "a list")
        if len(self.stack) >= MAX_DEPTH:
            raise ManifestError(f"nested above {MAX_DEPTH} levels; make it flatter", position)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(None, position)
        self.stack.append(_Frame(mapping, event.anchor, position))

    def _close(self) -> None:
        frame = self.stack.pop()
        value = frame.mapping if frame.mapping is not None else frame.items
        self._add(value, frame.position, frame.anchor, frame.size, frame.height)

    def _alias(self, event: Any) -> None:
        name = _short(event.anchor)
        self._refuse_key(event, "an alias")
        target = self.anchors.get(event.anchor)
        if target is None:
            raise self._error(event, f"alias {name} has no anchor above it; define &{event.anchor}")
        if target.node is None:
            raise self._error(
                event, f"alias {name} refers to itself (anchor at {target.position}); remove it"
            )
        self.expanded += target.size
        if self.expanded > MAX_EXPANDED:
            raise self._error(
                event, f"aliases stand for more than {MAX_EXPANDED} values; write fewer of them"
            )
        if len(self.stack) + target.height > MAX_DEPTH:
            raise self._error(event, f"nested above {MAX_DEPTH} levels; make it flatter")
        self._add(target.node.value, self._at(event), None, target.size, target.height)

    def _refuse_key(self, event: Any, what: str) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.mapping is not None and frame.key is None:
            raise self._error(event, f"expected a name as key, got {what}")

    def _add(
        self, value: Any, position: Position, anchor: str | None, size: int, height: int
    ) -> None:
        frame = self.stack[-1] if self.stack else None
        key_position = frame.key_position if frame and frame.mapping is not None else position
        node = Node(value, position, key_position)
        if anchor is not None:
            self.anchors[anchor] = _Anchored(node, position, size, height)
        if frame is None:
            if value is not None and not isinstance(value, dict):
                raise ManifestError(
                    f"expected a mapping that begins with `version: 1`, got {describe(value)}",
                    position,
                )
            self.root = node
            return
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if frame.mapping is None:
            frame.items.append(node)
        else:
            assert frame.key is not None
            frame.mapping[frame.key] = node
            frame.key = None


def _short(text: str, limit: int = 60) -> str:
    """Text in quotes, on one line and not too long."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def describe(value: object) -> str:
    """A value as messages name it: the number 3, 'text', a list, nothing (null)."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return _short(value)
    return "a list" if isinstance(value, list) else "a mapping"
