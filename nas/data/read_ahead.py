"""Images read by processes of their own, ahead of who needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas.data.letterboxed import Letterboxed
from nas.errors import UserError


class _Pixels(Dataset[Tensor]):
    def __init__(self, images: Letterboxed) -> None:
        self._images = images

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index][0]


def read_ahead(
    images: Letterboxed, order: Sequence[list[int]], loaders: int, *, pinned: bool = False
) -> Iterator[Tensor]:
    """Batches of images, uint8 (n, 3, S, S), in the given order; PyTorch's random state stays as it is.

    Args:
        order: the positions in `images` of each batch.
        loaders: processes that read; 0: batches are read when they are asked for.
        pinned: whether batches lie in memory that a GPU copies from at once.

    Raises:
        DataError: if an image cannot be read.
    """
    loader = DataLoader(
        _Pixels(images), batch_sampler=order, num_workers=loaders, pin_memory=pinned, generator=torch.Generator()
    )
    try:
        yield from loader
    except UserError as error:
        raise type(error)(own_message(error)) from error


def own_message(error: UserError) -> str:
    """Message of an error, without the traceback that a process which loads images puts before it."""
    return str(error).strip().rpartition(f"{type(error).__name__}: ")[2]
