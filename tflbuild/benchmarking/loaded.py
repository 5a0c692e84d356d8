"""One signature of a file, loaded by the LiteRT interpreter so that nothing but the inference is
measured: inputs are set before, outputs are not fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line
from tflbuild.kernels import Kernels
from tflbuild.validation.file import quantize, tensor_details

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tflbuild.tflite.read import TfliteModel

    Array = NDArray[Any]

XNNPACK, NONE = "xnnpack", "none"


class Loaded:
    """Raises TaskError where the interpreter refuses the file, or its inputs."""

    def __init__(
        self,
        path: Path,
        model: TfliteModel,
        interface: Mapping[str, Any],
        samples: Sequence[Mapping[str, Array]],
        *,
        threads: int,
        delegate: str,
        kernels: Kernels,
        hooks: Sequence[Any] = (),
    ) -> None:
        """`model`: what `read_model` made of the file; `samples`: complete inputs by the names of
        `interface`; `hooks`: delegates that come before all others."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolvers = {
            XNNPACK: OpResolverType.BUILTIN,
            NONE: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        }
        key = interface["signature"]
        self.subgraph = next((s.subgraph for s in model.signatures if s.key == key), 0)
        graph = model.subgraphs[self.subgraph]
        names = [entry["name"] for entry in interface["inputs"]]
        self._feeds = [
            {
                index: quantize(sample[name], tensor_details(graph.tensors[index]))
                for name, index in zip(names, graph.inputs, strict=True)
            }
            for sample in samples
        ]
        self._shapes = {index: graph.tensors[index].shape for index in graph.inputs}
        try:
            self._interpreter = Interpreter(
                model_path=str(path),
                num_threads=threads,
                experimental_op_resolver_type=resolvers[delegate],
                experimental_delegates=[*hooks, *kernels.delegates(model)] or None,
            )
            # The class has `invoke` and `set_tensor` for the first subgraph alone; its own
            # SignatureRunner, which has them for all, takes this object too.
            self._wrapper = self._interpreter._interpreter
            self._resize(self._feeds[0])
        except (ValueError, RuntimeError) as error:
            text = one_line(error)
            raise TaskError(f"the LiteRT interpreter refuses the file: {text}") from error

    def prepare(self, turn: int) -> None:
        """The inputs of a round, and one inference, which brings the file's weights back into the
        caches: an application that runs one model finds them there."""
        self.feed(turn)
        self.invoke()

    def feed(self, turn: int) -> None:
        feed = self._feeds[turn % len(self._feeds)]
        try:
            if any(self._shapes[index] != array.shape for index, array in feed.items()):
                self._resize(feed)
            for index, array in feed.items():
                self._wrapper.SetTensor(index, array, self.subgraph)
        except (ValueError, RuntimeError) as error:
            raise TaskError(
                f"the LiteRT interpreter refuses an input: {one_line(error)}"
            ) from error

    def invoke(self) -> None:
        try:
            self._wrapper.Invoke(self.subgraph)
        except (ValueError, RuntimeError) as error:
            raise TaskError(f"the LiteRT interpreter failed: {one_line(error)}") from error

    def visit(self, delegate: Any) -> None:
        """Show the graph as it is now, with all delegates, to one more of them."""
        self._wrapper.ModifyGraphWithDelegate(delegate._get_native_delegate_pointer())
        self._allocate()

    def _resize(self, feed: Mapping[int, Array]) -> None:
        import numpy as np

        for index, array in feed.items():
            if self._shapes[index] != array.shape:
                shape = np.array(array.shape, np.int32)
                self._wrapper.ResizeInputTensor(index, shape, False, self.subgraph)
                self._shapes[index] = array.shape
        self._allocate()

    def _allocate(self) -> None:
        # Not the class's own method, which minds that nobody else holds what it wraps. It applies
        # the default delegates to all subgraphs.
        self._wrapper.AllocateTensors()
        if self.subgraph:
            self._wrapper.AllocateTensors(self.subgraph)
