"""TensorFlow's NAS-FPN: tf-models-official's decoder by the roles of its variables, tensorflow/tpu's by their names."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from necks.contract import Neck
from necks.reference.names import Source, Sources, merge_neck_of


def tf(neck: Neck) -> Sources:
    """Names of each variable: its role first, then its name in a TF1 checkpoint, without the scope around the neck.

    Keras numbers the decoder's layers in the order of their creation in the process, so that its variables have no
    lasting names; roles say where they belong: `lateral/{level}/...` for the backbone map of that level,
    `cell/{repeat}/{index}/...` for the published cell's seven in their order, then `kernel` (or `depthwise_kernel`
    and `pointwise_kernel`), `bias`, `gamma`, `beta`, `moving_mean` or `moving_variance`.

    tensorflow/tpu's norms have an epsilon of 1e-4, tf-models-official's 1e-3, which is also that of `nas_fpn@tf`; both
    are taken.
    """
    conventions = {
        "activation": "relu",
        "order": "act_conv_norm",
        "down": "max_pool",
        "gate": "max_coarse",
        "extra_inputs": "max_pool",
    }
    neck = merge_neck_of(neck, "nas_fpn@tf", ("nas_fpn",), conventions)
    sources: Sources = {}
    for index, level in enumerate(neck.in_levels):
        scope = f"resample_l{level}"
        convs = (f"{scope}/conv2d", f"{scope}/separable_conv2d")
        sources |= _unit(f"stem.laterals.{index}", f"lateral/{level}", convs, f"{scope}/bn")
    inputs = len(neck.out_levels)
    for repeat in range(neck.repeats):
        for index in range(len(neck.genotype.cells)):
            scope = f"fpn_cells/cell_{repeat}/sub_policy{index}/op_after_combine{inputs + index}"
            ours = f"pyramids.{repeat}.cells.{index}.transform"
            sources |= _unit(ours, f"cell/{repeat}/{index}", (f"{scope}/conv",), f"{scope}/bn")
    return {name: sources[name] for name in neck.state_dict() if name in sources}


def _channels_first(kernel: Tensor) -> Tensor:
    """(H, W, in, out) -> (out, in, H, W)."""
    return kernel.permute(3, 2, 0, 1)


def _depthwise(kernel: Tensor) -> Tensor:
    """(H, W, C, 1) -> (C, 1, H, W)."""
    return kernel.permute(2, 3, 0, 1)


CONV: dict[str, tuple[str, Callable[[Tensor], Tensor] | None]] = {
    "conv.weight": ("kernel", _channels_first),
    "conv.bias": ("bias", None),
    "conv.depthwise.weight": ("depthwise_kernel", _depthwise),
    "conv.pointwise.weight": ("pointwise_kernel", _channels_first),
    "conv.pointwise.bias": ("bias", None),
}
NORM = {
    "norm.weight": "gamma",
    "norm.bias": "beta",
    "norm.running_mean": "moving_mean",
    "norm.running_var": "moving_variance",
}


def _unit(ours: str, role: str, convs: tuple[str, ...], norm: str) -> Sources:
    """A convolution and its norm; the neck has only some of these tensors."""
    sources = {
        f"{ours}.{tail}": Source(tuple(f"{there}/{variable}" for there in (role, *convs)), convert)
        for tail, (variable, convert) in CONV.items()
    }
    sources |= {
        f"{ours}.{tail}": Source((f"{role}/{variable}", f"{norm}/{variable}")) for tail, variable in NORM.items()
    }
    return {**sources, f"{ours}.norm.num_batches_tracked": Source(())}
