"""Necks made after one public implementation each, to the last of its conventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

from necks.asff import AsffNeck
from necks.balanced import BalancedNeck
from necks.contract import Neck, PassThrough
from necks.mlfpn import MlfpnNeck
from necks.recipe import Recipe
from necks.request import Request
from search_space import DEFAULT_LEVELS, Genotype, known_genotype

Extra = Literal["max_pool", "p6p7_c5", "p6p7_p5"] | None
NormOption = Literal["batch", "group"] | None
Fusion = Literal["fast_normalized", "softmax", "sum"]

EXTRA_OUTPUTS = {"max_pool": "subsample", "p6p7_c5": "p6p7_c5", "p6p7_p5": "p6p7_p5"}
USUAL_EXTRA_LEVELS = {None: 0, "max_pool": 1, "p6p7_c5": 2, "p6p7_p5": 2}
M2DET_LEVELS, M2DET_CHANNELS = (3, 4, 5, 6, 7, 8), 2048

PLAIN = Recipe(activation="none", norm="none", norm_eps=1e-5, norm_momentum=0.1, lateral_always=True, init="xavier")
"""Convolutions with bias and nothing else, one lateral per level even where the channels match."""


def fpn_torchvision(request: Request, *, extra: Extra = None, norm: NormOption = None) -> Neck:
    """torchvision's FeaturePyramidNetwork; `extra` are LastLevelMaxPool and LastLevelP6P7."""
    if extra == "p6p7_c5" and request.in_channels and request.in_channels[-1] == request.width():
        raise ValueError("torchvision takes P6 from P5 where C5 is as wide as P5; ask for extra='p6p7_p5'")
    recipe = replace(_with_norm(PLAIN, norm), init="caffe2_xavier")
    return _with_extra("fpn", request, recipe, extra)


def fpn_mmdet(
    graph: str,
    request: Request,
    *,
    extra: Extra = None,
    extra_relu: bool = False,
    norm: NormOption = None,
    norm_on_lateral: bool = True,
) -> Neck:
    """mmdetection's FPN, and its PAFPN, whose bottom-up chain passes the sum before its convolution.

    Their ConvModules have a norm and no bias, or the other way round, those of the extra levels included. `extra`
    p6p7_c5 is their `on_input`, p6p7_p5 their `on_output`.
    """
    recipe = replace(PLAIN, lateral_norm=norm_on_lateral, extra_activation=extra_relu, extra_norm=norm is not None)
    if graph == "pafpn":
        recipe = replace(recipe, down="conv")
    return _with_extra(graph, request, _with_norm(recipe, norm), extra)


def panet_authors(request: Request, *, extra: Extra = "max_pool", group_norm: bool = False) -> Neck:
    """PANet's bottom-up path as in its authors' PyTorch code: the chain passes each map after its convolution.

    With GroupNorm every convolution has a norm, those of the bottom-up path a ReLU and a bias, too.
    """
    recipe = replace(PLAIN, down="conv", init="caffe2_xavier")
    if group_norm:
        recipe = replace(recipe, norm="group", activation="relu", order="conv_norm_act", linear_bias=False)
    genotype = known_genotype("panet", request.in_levels)
    cells = tuple(replace(cell, transform="linear") if len(cell.inputs) == 1 else cell for cell in genotype.cells)
    return _with_extra(replace(genotype, cells=cells), request, recipe, extra)


def nas_fpn_tf(request: Request, *, separable: bool = False) -> Neck:
    """TensorFlow's NAS-FPN decoder (tf-models-official), which Google's published cell was released in."""
    return _nas_fpn(request, Recipe(separable=separable))


def nas_fpn_mmdet(request: Request, *, norm: NormOption = "batch") -> Neck:
    """mmdetection's NASFPN: another gate than Google's, and convolutions on P6 and P7."""
    recipe = Recipe(
        norm=norm or "none",
        norm_eps=1e-5,
        norm_momentum=0.1,
        linear_bias=norm is None,
        lateral_always=True,
        down="max_pool_padded",
        gate="avg_fine",
        extra_inputs="project_pool",
        init="caffe2_xavier",
    )
    return _nas_fpn(request, recipe)


EFFDET = Recipe(
    activation="silu",
    conv_bias=False,
    separable=True,
    separable_laterals=False,
    laterals="edges",
    down="max_pool3",
    extra_inputs="lateral_pool",
)
"""Of efficientdet_d0 to d3: symmetric pooling, no bias before a norm."""

EFFDET_TF = replace(EFFDET, conv_bias=True, down="max_pool3_same")
"""Of the tf_ models, made after google/automl: TensorFlow's SAME pooling, biases before the norms."""


def bifpn_effdet(recipe: Recipe, request: Request, *, fusion: Fusion = "fast_normalized", graph: str = "bifpn") -> Neck:
    """effdet's BiFPN with one of its two recipes."""
    graphs = {"bifpn": "bifpn", "pan": "pan", "quad": "quad_fpn"}
    request.refuse_recipe()
    if graph not in graphs or fusion not in get_args(Fusion):
        raise ValueError(
            f"{request.name} has the graphs {tuple(graphs)} and the fusions {get_args(Fusion)}, got {graph!r} and "
            f"{fusion!r}"
        )
    genotype = known_genotype(graphs[graph], request.levels(DEFAULT_LEVELS))
    cells = tuple(replace(cell, merge=fusion) for cell in genotype.cells)
    return request.merge_neck(replace(genotype, cells=cells), recipe)


def balanced_mmdet(request: Request, *, refine: Any = "non_local", refine_level: int = 4) -> Neck:
    """mmdetection's BFP: balancing alone, of the maps that another neck gave."""
    request.refuse_stacking()
    given = PassThrough(request.in_channels, request.in_levels)
    width, levels = request.width(given.out_channels), request.levels(given.out_levels)
    if set(given.level_channels) != {width} or levels != given.out_levels:
        raise ValueError(
            f"{request.name} gives maps like those it takes, all of one width: levels {given.out_levels} with "
            f"{given.level_channels} channels; got out_levels={levels}, out_channels={width}"
        )
    return BalancedNeck(given, refine_level, refine)


def mlfpn_m2det(request: Request, *, tums: int = 8, sfam: bool = False, shared: bool = True) -> Neck:
    """M2Det's MLFPN as released, which shares some modules and leaves SFAM out unless asked."""
    maps = request.maps(M2DET_LEVELS, M2DET_CHANNELS)
    return MlfpnNeck(*maps, tums=tums, sfam=sfam, shared=shared, valid_top=True)


def asff_yolov3(request: Request, *, rfb: bool = False) -> Neck:
    """ASFF at YOLOv3's widths: 256, 256, 512 in; `out_channels` (256), twice and four times that out."""
    request.refuse_stacking()
    given = PassThrough(request.in_channels, request.in_levels)
    if request.levels(given.out_levels) != given.out_levels:
        raise ValueError(f"{request.name} gives the levels it takes, {given.out_levels}, got {request.out_levels}")
    expanded = tuple(request.width() * 2**index for index in range(len(given.out_levels)))
    return AsffNeck(given, weight_channels=8 if rfb else 16, expanded=expanded)


PUBLIC: dict[str, Callable[..., Neck]] = {
    "fpn@torchvision": fpn_torchvision,
    "fpn@mmdet": partial(fpn_mmdet, "fpn"),
    "pafpn@mmdet": partial(fpn_mmdet, "pafpn"),
    "panet@authors": panet_authors,
    "nas_fpn@tf": nas_fpn_tf,
    "nas_fpn@mmdet": nas_fpn_mmdet,
    "bifpn@effdet": partial(bifpn_effdet, EFFDET),
    "bifpn@effdet_tf": partial(bifpn_effdet, EFFDET_TF),
    "balanced@mmdet": balanced_mmdet,
    "mlfpn@m2det": mlfpn_m2det,
    "asff@yolov3": asff_yolov3,
}


def _with_norm(recipe: Recipe, norm: NormOption) -> Recipe:
    return recipe if norm is None else replace(recipe, norm=norm, conv_bias=False)


def _with_extra(graph: str | Genotype, request: Request, recipe: Recipe, extra: Extra) -> Neck:
    """A graph over the backbone's levels, and further levels made from its outputs or from the last backbone map."""
    request.refuse_recipe()
    if extra not in USUAL_EXTRA_LEVELS:
        raise ValueError(f"extra must be one of {tuple(USUAL_EXTRA_LEVELS)}, got {extra!r}")
    genotype = known_genotype(graph, request.in_levels) if isinstance(graph, str) else graph
    last = request.in_levels[-1] if request.in_levels else 0
    usual = (*request.in_levels, *range(last + 1, last + 1 + USUAL_EXTRA_LEVELS[extra]))
    out_levels = request.levels(usual)
    if (len(out_levels) > len(request.in_levels)) != (extra is not None):
        raise ValueError(
            f"{request.name} with extra={extra!r} gives levels {usual}, got out_levels={out_levels}; levels beyond "
            f"in_levels come from extra, one of {tuple(EXTRA_OUTPUTS)}"
        )
    if extra is not None:
        recipe = replace(recipe, extra_outputs=EXTRA_OUTPUTS[extra])  # type: ignore[arg-type]
    return request.merge_neck(genotype, recipe, out_levels)


def _nas_fpn(request: Request, recipe: Recipe) -> Neck:
    request.refuse_recipe()
    return request.merge_neck(known_genotype("nas_fpn", request.levels(DEFAULT_LEVELS)), recipe)
