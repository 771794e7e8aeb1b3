"""Recipe of a neck: everything but its topology, such as activation, convolution, norm, resampling, extra levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args, get_type_hints

from necks.choices import Activation, Down, ExtraInputs, ExtraOutputs, Gate, Init, Laterals, Norm, Order
from search_space.bounds import shown


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings with which merge cells are computed. `necks.choices` lists the choices of each field.

    The defaults are those of TensorFlow's public NAS-FPN decoder.

    Args:
        activation: activation of every cell with transform `conv`.
        order: order of activation, convolution and norm in a cell.
        norm: norm after every convolution, laterals included.
        norm_eps: epsilon of the norm.
        norm_momentum: weight of the newest batch in the running statistics (PyTorch's convention).
        norm_groups: number of groups of the norm `group`.
        conv_bias: True for a bias on every convolution. It is redundant before a batch norm, but TensorFlow has it.
        linear_bias: the same for convolutions without activation (laterals, transform `linear`); None: as `conv_bias`.
        separable: True for separable convolutions: 3x3 depthwise without bias, then pointwise, with nothing between.
        separable_laterals: the same for 1x1 laterals; None: as `separable`.
        laterals: place where maps are converted to the width of the neck.
        lateral_always: True for a 1x1 lateral even if the channels already match; TensorFlow skips it then. Has no
            effect with laterals on edges, which exist only if the channels differ.
        lateral_norm: True for a norm after laterals; without it they have a bias.
        down: method by which a cell downsamples a finer map to its level.
        gate: gate of `attention` merges.
        extra_inputs: method that makes input levels beyond the backbone's.
        extra_outputs: method that makes output levels beyond the genotype's.
        extra_activation: True for a ReLU between the strided convolutions of `extra_outputs`.
        extra_norm: True for a norm after these convolutions; without it they have a bias.
        init: initialisation of the convolutions; biases start at zero.

    Raises:
        ValueError: for a value that a field cannot have.
    """

    activation: Activation = "relu"
    order: Order = "act_conv_norm"
    norm: Norm = "batch"
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01
    norm_groups: int = 32
    conv_bias: bool = True
    linear_bias: bool | None = None
    separable: bool = False
    separable_laterals: bool | None = None
    laterals: Laterals = "stem"
    lateral_always: bool = False
    lateral_norm: bool = True
    down: Down = "max_pool"
    gate: Gate = "max_coarse"
    extra_inputs: ExtraInputs = "max_pool"
    extra_outputs: ExtraOutputs = "subsample"
    extra_activation: bool = True
    extra_norm: bool = False
    init: Init = "he_fan_out"

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            choices, value = get_args(kind), getattr(self, name)
            if choices and isinstance(choices[0], str):
                if value not in choices:
                    raise ValueError(f"{name} must be one of {choices}, got {shown(value)}")
            elif kind in (int, float):
                if isinstance(value, bool) or not isinstance(value, int | kind) or not 0 < value < math.inf:
                    raise ValueError(f"{name} must be a positive {kind.__name__}, got {shown(value)}")
            elif not isinstance(value, kind):
                raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}, got {shown(value)}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: for a field that this version does not know, or what is no mapping of fields.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a recipe is a mapping of fields, got {shown(data)}")
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(f"recipe has unknown fields {sorted(unknown)}; known are {sorted(known)}")
        return cls(**data)
