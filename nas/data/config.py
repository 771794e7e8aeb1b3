"""Data to train and score on: frozen configurations, validated when they are made."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nas.bounds import MAX_IMAGE_SIZE, MAX_IMAGES, MAX_SEED, Float, Int
from nas.data.entry_faults import MAX_SIDE
from nas.data.image_files import MAX_PIXELS
from nas.errors import UserError

_STRICT = ConfigDict(extra="forbid")


class DataError(UserError):
    """Error for data that cannot be used; its one line says what is wrong, what is allowed and what to do."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SignsConfig:
    """The embedded data set "signs": how many images, how large, and which draw."""

    train: Int = Field(default=800, ge=1, le=MAX_IMAGES)
    """Images in the training split."""
    reward: Int = Field(default=200, ge=1, le=MAX_IMAGES)
    """Images in the split that scores candidates during a search."""
    test: Int = Field(default=200, ge=1, le=MAX_IMAGES)
    """Images in the split that scores the final networks."""
    image_size: Int = Field(default=256, ge=32, le=MAX_IMAGE_SIZE)
    """Side of the square images, in pixels."""
    plate_px: tuple[Float, Float] = (70.0, 200.0)
    """Smallest and largest plate in pixels (square root of its box's area), log-uniform between the two.

    The largest is divided by sqrt(n) in images with n plates, to make room.
    """
    tile_px: tuple[Float, Float] = (8.0, 26.0)
    """Smallest and largest tile in pixels, uniform; a tile is at most 0.2 of its plate's shorter side."""
    seed: Int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of every random choice but the division of photographs and digits, which is fixed."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for name, least, (low, high) in (("plate_px", 40, self.plate_px), ("tile_px", 5, self.tile_px)):
            if not least <= low <= high:
                raise ValueError(f"`{least} <= low <= high` must hold for {name}, but got ({low}, {high})")
        # The longer side of the most oblong plate is sqrt(1.25) = 1.118 times its size.
        if self.plate_px[1] * 1.12 > self.image_size:
            raise ValueError(
                f"plates of up to {self.plate_px[1]} px do not fit into images of {self.image_size} px; "
                f"allowed: plate_px[1] <= image_size / 1.12 = {self.image_size / 1.12:.1f}"
            )
        if self.tile_px[0] > 0.16 * self.plate_px[0]:
            raise ValueError(
                f"tiles of {self.tile_px[0]} px do not fit onto plates of {self.plate_px[0]} px; "
                f"allowed: tile_px[0] <= 0.16 * plate_px[0] = {0.16 * self.plate_px[0]:.1f}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SplitConfig:
    """One split in COCO's layout."""

    annotations: str
    """COCO instances file (JSON), relative to the data set's root."""
    images: str
    """Folder of the images, relative to the data set's root. Each `file_name` is relative to this folder."""


def _split(name: str) -> SplitConfig:
    return SplitConfig(annotations=f"annotations/instances_{name}.json", images=name)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataConfig:
    """A COCO-format data set and its three splits: train, reward (scores candidates) and test (scores results)."""

    root: str
    """The data set's directory."""
    train: SplitConfig = Field(default_factory=lambda: _split("train"))
    """Images to train on."""
    reward: SplitConfig | None = Field(default_factory=lambda: _split("reward"))
    """Images that score candidates during a search; None: `holdout` images of train are held out for this."""
    test: SplitConfig | None = Field(default_factory=lambda: _split("test"))
    """Images that no search sees; None if there are none."""
    holdout: Int = Field(default=0, ge=0, le=MAX_IMAGES)
    """Number of train images that score candidates if `reward` is None (7392 in the NAS-FPN paper)."""
    split_seed: Int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed that draws the held-out images."""
    categories: tuple[str, ...] | None = None
    """Names of the categories to detect; None or empty: all. Categories without boxes in train are left out."""
    value_range: tuple[Float, Float] | None = None
    """Values that become black and white in grey images of more than 8 bits; None: keep the upper 8 of 16 bits."""
    max_pixels: Int = Field(default=MAX_PIXELS, ge=1, le=MAX_SIDE**2)
    """Largest number of pixels of an image that is read. A small file may expand to an image that fills the memory."""
    embedded: SignsConfig | None = None
    """Embedded data set to make at the root if there is none yet."""
    archive: str | None = None
    """Path or URL of fsspec (s3://, gs://, https://) of a tar or zip file that holds the data set, at its top or in one
    directory. Each machine unpacks it at the root if the root is missing or empty."""
    max_unpacked_gib: Float | None = Field(default=None, gt=0)
    """Largest size of the unpacked archive, in GiB; None: 20 times the size of the archive, but at least 1 GiB."""
    allow_outside: bool = False
    """True to allow a `file_name` that is absolute or leads out of its image folder. Only for annotations that you
    trust."""

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"`low < high` must hold for value_range, but got {self.value_range}")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.embedded is not None and self.archive is not None:
            raise ValueError("a data set is either embedded or comes in an archive; set one of the two to null")
        return self

    @model_validator(mode="after")
    def _one_reward(self) -> Self:
        if self.reward is None and self.holdout == 0:
            raise ValueError(
                "a search needs images to score candidates on, but reward is None and holdout is 0; "
                "name a reward split or set holdout to a number of train images"
            )
        if self.reward is not None and self.holdout > 0:
            raise ValueError(
                f"holdout={self.holdout} holds images out of train only when reward is None, but reward is "
                f"{self.reward.annotations}; set reward to None or holdout to 0"
            )
        return self
