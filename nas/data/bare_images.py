"""Image files without annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from nas.data.coco import CocoSplit
from nas.data.config import DataError
from nas.data.image_files import USUAL, Reading, images_below, read_upright
from nas.data.instances import index_instances
from search_space.files import is_text


class BareImages(CocoSplit):
    """Images in memory as a split without boxes.

    Args:
        images: id -> its name and its pixels, uint8 (3, H, W).
        categories: id -> name, of what may be found in them.
    """

    def __init__(self, images: Mapping[int, tuple[str, Tensor]], categories: Mapping[int, str]) -> None:
        self.annotations = self.images = Path()
        sizes = {image: (name, pixels.shape[-1], pixels.shape[-2]) for image, (name, pixels) in images.items()}
        self.coco = index_instances(described(sizes, categories), self.annotations)
        self._pixels = {image: pixels for image, (_, pixels) in images.items()}
        self.image_ids = tuple(sorted(images))
        self._set_classes()

    def _load_image(self, image_id: int) -> Tensor:
        return self._pixels[image_id]


def described(images: Mapping[int, tuple[str, int, int]], categories: Mapping[int, str]) -> dict[str, Any]:
    """The content of a COCO instances file without annotations.

    Args:
        images: id -> its name, width and height.
        categories: id -> name.
    """
    return {
        "images": [
            {"id": image, "file_name": name, "width": width, "height": height}
            for image, (name, width, height) in images.items()
        ],
        "annotations": [],
        "categories": [{"id": category, "name": name} for category, name in categories.items()],
    }


def read_bare(path: Path, reading: Reading = USUAL) -> Tensor:
    """Pixels, uint8 (3, H, W) RGB, upright as by EXIF.

    Raises:
        UnreadableImageError: for a file that is no image.
    """
    return pil_to_tensor(read_upright(path, reading))


def find_images(places: Sequence[Path], without: Path) -> list[Path]:
    """Files that are named, and in directories that are, all that have the suffix of an image; each once, in order.

    Args:
        without: a directory whose files are left out, such as one that pictures are written to.

    Raises:
        DataError: for a place that is not there, a directory without images, or a name that is no text.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            inside = [path for path in images_below(place) if not path.resolve().is_relative_to(without.resolve())]
            if not inside:
                raise DataError(f"{place} holds no images; name files, or a directory with .jpg, .png or the like")
            found.update(dict.fromkeys(inside))
        elif place.is_file():
            found[place] = None
        else:
            raise DataError(f"there is no file or directory {place}; name images or directories with images")
    if wrong := next((path for path in found if not is_text(str(path))), None):
        raise DataError(f"the name of {wrong!a:.200} is no text in UTF-8, so no JSON can hold it; rename the file")
    return list(found)
