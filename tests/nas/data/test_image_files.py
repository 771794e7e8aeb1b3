"""Image files of every sort, as the loader and `nasfpn data check` see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.check import check_data
from nas.data.coco import digest, open_splits
from nas.data.config import DataError

ORIENTATION = 0x0112
TURN_LEFT, TURN_RIGHT, MIRRORED = 6, 8, 2
"""EXIF's numbers for an image stored on its side or mirrored."""
COLOURS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def with_image(coco_files: Any) -> Callable[..., tuple[Any, list[str]]]:
    """Puts a file in the place of train's image 10: how to read it, and the errors that the check finds."""

    def write(save: Callable[[Path], Any], name: str = "train_10.png", size: tuple[int, int] = (64, 48)) -> Any:
        def edit(content: dict[str, Any]) -> None:
            content["images"][1].update(file_name=name, width=size[0], height=size[1])

        coco_files.all()
        coco_files.write("train", edit)
        save(coco_files.root / "train" / name)
        errors = [p.message for p in check_data(coco_files.config(), full=True) if p.severity == "error"]
        return (lambda: open_splits(coco_files.config()).train[0][0]), errors

    return write


def rotated(orientation: int, shape: tuple[int, int] = (64, 48)) -> Callable[[Path], Any]:
    """Saves a JPEG of this height and width, white in its upper half as stored, with an orientation."""

    def save(path: Path) -> None:
        pixels = np.zeros((*shape, 3), dtype=np.uint8)
        pixels[: shape[0] // 2] = 255
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        Image.fromarray(pixels).save(path, exif=exif, quality=95)

    return save


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("LA", "png"), ("P", "png"), ("RGBA", "png"), ("1", "png"), ("CMYK", "tif"), ("LAB", "tif")],
)
def test_modes_with_eight_bits_are_converted(with_image: Any, mode: str, suffix: str) -> None:
    image = Image.new(mode, (64, 48)) if mode == "LAB" else Image.fromarray(COLOURS).convert(mode)
    read, errors = with_image(image.save, f"train_10.{suffix}")
    assert errors == []
    assert read().shape == (3, 48, 64)


def test_cmyk_keeps_its_colours(with_image: Any) -> None:
    red = Image.new("RGB", (64, 48), (250, 10, 20)).convert("CMYK")
    read, errors = with_image(lambda path: red.save(path, quality=95), "train_10.jpg")
    assert errors == []
    assert (read().float().mean((1, 2)) - torch.tensor([250.0, 10, 20])).abs().max() < 5


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_keeps_its_colours(with_image: Any) -> None:
    clear = Image.fromarray(COLOURS).quantize(16)
    expected = np.asarray(clear.convert("RGB"))
    read, errors = with_image(lambda path: clear.save(path, transparency=bytes([0, 128] + [255] * 14)))
    assert errors == []
    assert np.array_equal(read().permute(1, 2, 0), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(with_image: Any, suffix: str) -> None:
    deep = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    read, errors = with_image(lambda path: Image.fromarray(deep).save(path), f"train_10.{suffix}")
    assert errors == []
    assert np.array_equal(read()[0], deep >> 8)
    assert torch.equal(read()[0], read()[2])


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_known_range_are_refused(with_image: Any, kind: type) -> None:
    save = lambda path: Image.fromarray(np.ones((48, 64), dtype=kind)).save(path)  # noqa: E731
    read, errors = with_image(save, "train_10.tif")
    message = r"train_10\.tif.* pixels are 32-bit numbers.*store 8 or 16 bits"
    with pytest.raises(DataError, match=message):
        read()
    assert len(errors) == 1
    assert "store 8 or 16 bits" in errors[0]


def test_stored_pixels_count_where_they_have_the_stated_size(with_image: Any) -> None:
    for orientation in (1, MIRRORED, TURN_LEFT):
        read, errors = with_image(rotated(orientation), "train_10.jpg", (48, 64))
        assert errors == []
        pixels = read()
        assert pixels.shape == (3, 64, 48)
        assert pixels[:, :30].min() > 200
        assert pixels[:, 34:].max() < 50


def test_a_rotated_image_is_turned_where_only_that_has_the_stated_size(with_image: Any) -> None:
    for orientation, white in ((TURN_LEFT, slice(28, None)), (TURN_RIGHT, slice(None, 28))):
        read, errors = with_image(rotated(orientation), "train_10.jpg", (64, 48))
        assert errors == []
        pixels = read()
        assert pixels.shape == (3, 48, 64)
        assert pixels[:, :, white].float().mean() > 200


def test_a_size_that_neither_has_is_an_error(with_image: Any) -> None:
    read, errors = with_image(rotated(TURN_LEFT), "train_10.jpg", (64, 50))
    with pytest.raises(DataError, match=r"is 48x64 pixels, but stated as 64x50"):
        read()
    assert "is 48x64 pixels, but stated as 64x50" in errors[0]


def test_an_image_of_too_many_pixels_is_an_error_that_names_the_setting(with_image: Any, coco_files: Any) -> None:
    with_image(Image.fromarray(COLOURS).save)
    few = coco_files.config(max_pixels=48 * 64 - 1)
    with pytest.raises(
        DataError, match=r"train_10\.png \(image 10\) is too large: 64x48 = 3,072 pixels, of at most 3,071"
    ):
        open_splits(few).train[0]
    (line, *more) = [p.message for p in check_data(few, full=True) if p.split == "train"]
    assert "set data.max_pixels" in line
    assert len(more) == 2
    assert check_data(coco_files.config(max_pixels=48 * 64), full=True) == []


@pytest.mark.filterwarnings("error")
def test_pillows_own_limit_is_not_the_limit(with_image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    read, errors = with_image(Image.fromarray(COLOURS).save)
    assert errors == []
    assert read().shape == (3, 48, 64)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.fixture
def deep_set(coco_files: Any) -> Any:
    """Every image of a split has 16 bits, of which few are used: from 51200 on in steps of 20, to the given value."""

    def make(split: str, high: int = 52220) -> None:
        coco_files.all()
        for path in (coco_files.root / split).iterdir():
            values = np.linspace(51200, high, 48 * 64).round().astype(np.uint16).reshape(48, 64)
            Image.fromarray(values).save(path)

    return make


@pytest.mark.parametrize("split", ["train", "test"])
def test_sixteen_bits_of_which_few_are_used_are_a_warning_and_a_setting(
    deep_set: Any, coco_files: Any, split: str
) -> None:
    deep_set(split)
    (problem,) = check_data(coco_files.config(), full=True)
    assert (problem.severity, problem.split) == ("warning", split)
    assert "the 3 images of more than 8 bits hold values 51200..52220" in problem.message
    assert "greys 200..203 of 0..255" in problem.message
    assert "set data.value_range=[51200,52220]" in problem.message
    config = coco_files.config(value_range=(51200, 52220))
    assert check_data(config, full=True) == []
    image = getattr(open_splits(config), split)[0][0]
    assert (image.min(), image.max()) == (0, 255)
    assert len(image.unique()) == 256


def test_sixteen_bits_that_are_used_are_no_warning(deep_set: Any, coco_files: Any) -> None:
    deep_set("train", 2**16 - 1)
    assert len(check_data(coco_files.config(), full=True)) == 1
    deep_set("train", 51200 - 64 * 256)
    assert check_data(coco_files.config(), full=True) == []


def test_a_range_that_is_not_that_of_the_values_is_a_warning(deep_set: Any, coco_files: Any) -> None:
    deep_set("train")
    (problem,) = check_data(coco_files.config(value_range=(0, 4095)), full=True)
    assert "greys 255..255" in problem.message


def test_values_beyond_the_range_are_the_nearest_grey(with_image: Any, coco_files: Any) -> None:
    values = np.array([[-5.0, 0.0, 0.5, 1.0, 7.0, 0.25]], dtype=np.float32).repeat(48, 0)
    with_image(lambda path: Image.fromarray(values).save(path), "train_10.tif", (6, 48))
    config = coco_files.config(value_range=(0.0, 1.0))
    assert open_splits(config).train[0][0][0, 0].tolist() == [0, 0, 128, 255, 255, 64]


def test_a_range_is_part_of_what_caches_are_called_by(coco_files: Any) -> None:
    coco_files.all()
    digests = {digest(open_splits(coco_files.config(value_range=each)).train) for each in (None, (0, 9), (1, 9))}
    assert len(digests) == 3
    assert digest(open_splits(coco_files.config(max_pixels=10**6)).train) in digests


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.7])
def test_a_file_cut_off_is_an_error_or_complete(with_image: Any, suffix: str, part: float) -> None:
    def save(path: Path) -> None:
        Image.fromarray(COLOURS).save(path)
        raw = path.read_bytes()
        path.write_bytes(raw[: int(part * len(raw))])

    read, errors = with_image(save, f"train_10.{suffix}")
    if not errors:
        assert read().shape == (3, 48, 64)
        return
    with pytest.raises(DataError, match=rf"train_10\.{suffix} \(image 10\) cannot be read"):
        read()


def test_a_folder_and_a_name_that_no_file_can_have_are_errors(with_image: Any) -> None:
    for name, save in (("folder", Path.mkdir), ("nul\0byte.png", lambda _: None)):
        read, errors = with_image(save, name)
        with pytest.raises(DataError, match=r"\(image 10\) cannot be read"):
            read()
        assert errors


def test_an_image_that_is_a_program_is_not_run(with_image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    read, errors = with_image(Image.fromarray(COLOURS).save, "train_10.eps")
    assert len(errors) == 1
    assert "EPS is a program, not pixels" in errors[0]
    with pytest.raises(DataError, match="EPS is a program"):
        read()


def test_a_way_of_storing_that_pillow_lacks_is_an_error(with_image: Any) -> None:
    def save(path: Path) -> None:
        Image.fromarray(COLOURS).save(path)
        raw = bytearray(path.read_bytes())
        raw[80:84] = bytes(4)  # flags of the pixel format
        path.write_bytes(raw)

    read, errors = with_image(save, "train_10.dds")
    assert "cannot be read: Unknown pixel format" in errors[0]
    with pytest.raises(DataError, match="Unknown pixel format"):
        read()
