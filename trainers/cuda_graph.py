"""A training step as a CUDA graph: recorded once, replayed with other inputs.

On a GPU a step at the sizes of sprite models is a thousand kernels of a few microseconds each, and the host, which
starts them one by one, takes longer than they do. A graph starts them all at once. It does what was recorded and
nothing else: a step must neither wait for the device nor make tensors of the host's values on its way, and what it
depends on besides its inputs (the phase of the curriculum, learning rates) must stay as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

#: Runs before the recording: in these libraries choose kernels and take memory, which a recording cannot.
WARM_UP = 3

Step = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


class GraphStep:
    """Runs `step` as it is a few times, records it, and from then on replays it.

    Args:
        step: takes indices and noise, changes tensors in place and returns one, all on a GPU.

    Raises:
        RuntimeError: at the recording, for a step that waits for the device.
        torch.OutOfMemoryError: a graph needs about as much memory of its own as plain steps do.
    """

    def __init__(self, step: Step):
        self.step = step
        self.runs = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, index: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """One step; what it returns is overwritten by the next. Shapes must be the same in all calls."""
        if self.graph is None and self.runs < WARM_UP:
            self.runs += 1
            return self._aside(index, noise)
        if self.graph is None:
            self.graph = self._record(index, noise)
        self.index.copy_(index)
        for name, drawn in noise.items():
            self.noise[name].copy_(drawn)
        self.graph.replay()
        return self.result

    def _aside(self, index: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """A plain run on a stream of its own, as a recording will be one."""
        stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            result = self.step(index, noise)
        main.wait_stream(stream)
        return result

    def _record(self, index: Tensor, noise: Mapping[str, Tensor]) -> torch.cuda.CUDAGraph:
        self.index, self.noise = index.clone(), {n: u.clone() for n, u in noise.items()}
        torch.cuda.empty_cache()  # a graph has memory of its own: give back what plain steps took
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.result = self.step(self.index, self.noise)
        except torch.OutOfMemoryError:  # a RuntimeError too
            raise
        except RuntimeError as error:
            raise RuntimeError(
                f"the training step cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}): some part of it"
                " waits for the GPU, or makes a tensor of the host's values; mend that part, or set"
                " training.cuda_graph: false"
            ) from error
        return graph
