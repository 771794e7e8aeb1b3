"""The order in which a training draws its images."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def drawn_batches(num_images: int, views: int, batch_size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Exactly `steps` batches, epoch after epoch in new order; what an epoch leaves over is dropped.

    Args:
        views: of each image, of which an epoch shows one; view v of image i has the position i + v * num_images.
        batch_size: images of a batch; all, where there are fewer.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, num_images)
    step = 0
    while True:
        drawn = torch.randperm(num_images, generator=generator)
        if views > 1:
            drawn += num_images * torch.randint(views, (num_images,), generator=generator)
        order = drawn.tolist()
        for start in range(0, num_images - size + 1, size):
            if step == steps:
                return
            yield order[start : start + size]
            step += 1
