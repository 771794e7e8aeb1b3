"""The order in which a training is shown its images."""

from __future__ import annotations

from itertools import chain

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.proxy.image_order import drawn_batches


def batches(images: int, views: int, size: int, epochs: int, seed: int) -> list[list[int]]:
    steps = epochs * (images // min(size, images))
    return list(drawn_batches(images, views, size, steps, seed))


@settings(max_examples=50, deadline=None)
@given(images=st.integers(1, 40), size=st.integers(1, 50), epochs=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_an_epoch_shows_every_image_at_most_once_in_one_of_its_views(images, size, epochs, seed):
    drawn = batches(images, 2, size, epochs, seed)
    per_epoch = images // min(size, images)
    assert len(drawn) == epochs * per_epoch
    for epoch in range(epochs):
        shown = list(chain.from_iterable(drawn[epoch * per_epoch : (epoch + 1) * per_epoch]))
        assert all(0 <= index < 2 * images for index in shown)
        assert len({index % images for index in shown}) == len(shown) == per_epoch * min(size, images)
    assert drawn == batches(images, 2, size, epochs, seed)


def test_both_views_of_every_image_come_up_about_equally_often():
    shown = torch.tensor(batches(20, 2, 5, epochs=200, seed=0)).flatten()
    counts = torch.bincount(shown, minlength=40)
    assert counts.sum() == 20 * 200
    assert counts.min() > 60
    assert counts.max() < 140
    mirrored = (shown >= 20).view(200, 20).float()
    assert mirrored.std(1).min() > 0, "an epoch mixes the views"


@settings(max_examples=30, deadline=None)
@given(images=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**31))
def test_without_mirrored_images_the_order_is_that_of_earlier_versions(images, size, seed):
    generator = torch.Generator().manual_seed(seed)
    per_batch = min(size, images)
    expected = []
    for _ in range(3):
        order = torch.randperm(images, generator=generator).tolist()
        expected += [order[start : start + per_batch] for start in range(0, images - per_batch + 1, per_batch)]
    assert batches(images, 1, size, 3, seed) == expected
