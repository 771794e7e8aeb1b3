"""The floor of a neck: its convolutions alone, in time and in what they read and write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Call = tuple[nn.Conv2d, Tensor]
"""A convolution, and a random map like the one that it was given."""


def convolution_calls(module: nn.Module, run: Callable[[], object], layout: torch.memory_format) -> list[Call]:
    """Every call of a convolution of `module` during `run`, in its order, with maps in the given layout."""
    calls: list[Call] = []

    def note(conv: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        calls.append((conv, torch.randn_like(inputs[0]).contiguous(memory_format=layout)))

    handles = [part.register_forward_hook(note) for part in module.modules() if isinstance(part, nn.Conv2d)]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return calls


class Convolutions(nn.ModuleList):
    """Takes one map for each of its convolutions."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [conv(x) for conv, x in zip(self, maps, strict=True)]


class Traffic(TorchDispatchMode):
    """Bytes that operations read and write, by name; the same at every run, whatever else the machine does.

    Views count nothing, a result in the memory of an operand counts as read and written.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            name = func.overloadpacket.__name__
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.bytes[name] += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
            self.calls[name] += 1
        return result

    @property
    def over_the_convolutions(self) -> float:
        """Bytes of everything else, as a share of the convolutions'."""
        convolutions = self.bytes["convolution"]
        return (self.bytes.total() - convolutions) / convolutions


@contextmanager
def traffic() -> Iterator[Traffic]:
    with torch.no_grad(), Traffic() as counter:
        yield counter
