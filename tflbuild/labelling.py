"""TFLite Metadata between manifest and file: what a conversion is asked for, and what it attaches.

It is attached by the task that makes the file, so that validate and compat see what is released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from tflbuild.manifest.model import Metadata, TensorMetadata
    from tflbuild.stages.base import Request
    from tflbuild.tflite.metadata import ModelNotes, TensorNotes
    from tflbuild.tflite.read import TfliteModel
    from tflbuild.tflite.signature import Interface

_SIDES = ("inputs", "outputs")
Sides = Mapping[str, Sequence[tuple[str, Sequence[int | None] | None]]]  # name and shape, by side


def metadata_inputs(metadata: Metadata) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameter `metadata` of a conversion, and the label files that it reads."""
    files = {tensor.labels: "" for tensor in metadata.outputs if tensor.labels}
    keys = {path: f"labels.{index}" for index, path in enumerate(files)}

    def said(tensor: TensorMetadata) -> dict[str, Any]:
        values = {**asdict(tensor), "labels": tensor.labels.rpartition("/")[2]}
        told = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v}
        return told | ({"file": keys[tensor.labels]} if tensor.labels else {})

    params = {k: v for k, v in asdict(metadata).items() if v and k not in _SIDES}
    for side in _SIDES:
        params[side] = [said(tensor) for tensor in getattr(metadata, side)]
    return params, {key: path for path, key in keys.items()}


@dataclass(frozen=True)
class Notes:
    """What is attached to a file: the manifest's words and the label files, by name."""

    model: ModelNotes  # only the tensors that the manifest names
    counts: Mapping[str, int]  # of labels, by output
    files: Mapping[str, bytes]

    def check(self, sides: Sides) -> None:
        """Do inputs and outputs of these names and shapes go with it? Raises TaskError."""
        for side in _SIDES:
            shapes = dict(sides[side])
            for tensor in getattr(self.model, side):
                key = f"metadata.{side}.{tensor.name}"
                if tensor.name not in shapes:
                    raise TaskError(
                        f"metadata: there is no {side[:-1]} {tensor.name!r}; the model has"
                        f" {', '.join(repr(name) for name in shapes)}",
                        key=key,
                    )
                self._check_tensor(tensor, shapes[tensor.name], key)

    def _check_tensor(
        self, tensor: TensorNotes, shape: Sequence[int | None] | None, key: str
    ) -> None:
        if shape is None:
            return
        last = shape[-1] if shape else 1
        if last is None or last < 0:
            return
        for name, values in (("normalization.mean", tensor.mean), ("normalization.std", tensor.std),
                             ("range.min", tensor.low), ("range.max", tensor.high)):  # fmt: skip
            if len(values) not in (0, 1, last):
                raise TaskError(
                    f"metadata: {name} has {len(values)} numbers, {tensor.name!r} has {last}"
                    " channels (its last dimension)",
                    key=f"{key}.{name}",
                )
        colors = {"rgb": 3, "gray": 1}.get(tensor.image, last)
        if colors != last or (tensor.image and len(shape) != 4):
            raise TaskError(
                f"metadata: {tensor.name!r} has the shape {list(shape)}, image: {tensor.image}"
                f" needs [batch, height, width, {colors}]",
                key=f"{key}.image",
            )
        count = self.counts.get(tensor.name)
        if count is not None and count != last:
            raise TaskError(
                f"metadata: {tensor.labels} has {count} labels, output {tensor.name!r} has {last}"
                " elements in its last dimension",
                key=f"{key}.labels",
            )

    def entries(self, model: TfliteModel, interfaces: Sequence[Interface]) -> dict[str, bytes]:
        """The metadata entry for a file with these interfaces, as `rewrite` takes it. Raises
        TaskError."""
        from tflbuild.tflite.metadata import ENTRY, TensorNotes, pack

        main = next((i for i in interfaces if i.subgraph == 0), None)
        if main is None:
            raise TaskError("metadata: no signature of the file is its main one", key="metadata")
        tensors = model.subgraphs[0].tensors
        sides = {
            side: [(io.name, tensors[io.tensor].shape_signature) for io in getattr(main, side)]
            for side in _SIDES
        }
        self.check(sides)
        whole = []
        for side in _SIDES:
            said = {tensor.name: tensor for tensor in getattr(self.model, side)}
            whole.append([said.get(name) or TensorNotes(name) for name, _ in sides[side]])
        return {ENTRY: pack(replace(self.model, inputs=whole[0], outputs=whole[1]))}

    def behind(self, data: bytes) -> bytes:
        """The file with the label files behind it."""
        from tflbuild.tflite.metadata import with_files

        return with_files(data, self.files)


def load_notes(request: Request, interface: Mapping[str, Any]) -> Notes | None:
    """What the manifest declares, checked as far as it can be before anything is converted;
    None where it declares nothing. Raises TaskError."""
    from tflbuild.tflite.metadata import ModelNotes, TensorNotes, read_labels

    params = request.params.get("metadata")
    if params is None:
        return None
    files: dict[str, bytes] = {}
    counts: dict[str, int] = {}
    sides: dict[str, list[TensorNotes]] = {side: [] for side in _SIDES}
    for side in _SIDES:
        for said in params[side]:
            tensor = TensorNotes(**{k: v for k, v in said.items() if k != "file"})
            sides[side].append(tensor)
            if not tensor.labels:
                continue
            try:
                content, labels = read_labels(request.inputs[said["file"]].read_bytes())
            except ValueError as error:
                raise TaskError(
                    f"metadata: {tensor.labels} is no list of labels: {error}",
                    key=f"metadata.{side}.{tensor.name}.labels",
                ) from error
            files[tensor.labels], counts[tensor.name] = content, len(labels)
    words = {key: value for key, value in params.items() if key not in _SIDES}
    notes = Notes(ModelNotes(sides["inputs"], sides["outputs"], **words), counts, files)
    if len(interface["signatures"]) == 1:
        (only,) = interface["signatures"]
        notes.check({side: [(e["name"], e["shape"]) for e in only[side]] for side in _SIDES})
    return notes
