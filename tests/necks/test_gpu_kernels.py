"""The Triton kernels against PyTorch: on a GPU where there is one, otherwise in Triton's interpreter."""

import importlib
import sys

import pytest
import torch

import necks.kernels
from necks import MergeNeck, build_neck
from necks.fused import with_kernels
from necks.gpu.fit import Term
from necks.kernels import merged, merged_by_torch
from necks.resample import resample
from necks.sizes import pool_window, size_of
from tests.necks.test_conformance import CASES, features, outputs, randomised

triton = pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNELS = ("necks.gpu.merging", "necks.gpu.pooling")
DOWNS = ("max_pool", "max_pool_padded", "max_pool3", "max_pool3_same")
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's, of masked values


def has_cells(neck):
    return isinstance(neck, MergeNeck) and neck.genotype.cells


MERGE_NECKS = [name for name, make in CASES.items() if has_cells(make())]


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """The kernels, used for every map in channels_last; those of the interpreter are forgotten afterwards."""
    monkeypatch.setattr("necks.kernels.LARGE", 0)
    if DEVICE == "cuda":
        yield
        return
    before = {name: sys.modules.pop(name, None) for name in KERNELS}
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(necks.kernels, "kernels_fit", lambda x: True)
    for name in KERNELS:
        importlib.import_module(name)
    yield
    for name, module in before.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


def without_kernels(monkeypatch):
    monkeypatch.setattr(necks.kernels, "kernels_fit", lambda x: False)


def map_of(channels, height, width, dtype=torch.float32):
    x = torch.randn(2, channels, height, width, device=DEVICE).relu()  # many equal values
    return x.to(dtype, memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sides", [((24, 16), (12, 8), 1), ((25, 17), (13, 9), 1), ((33, 20), (9, 5), 2)])
@pytest.mark.parametrize("down", DOWNS)
def test_pooled_maps_and_gradients_are_those_of_pytorch(down, sides, dtype, monkeypatch):
    source, size, shift = sides
    if pool_window(source, size, stride=2**shift, down=down) is None:
        size = tuple((side + 2 * (2**shift // 2) - 2**shift - 1) // 2**shift + 1 for side in source)
    x = map_of(5, *source, dtype).requires_grad_()
    ours = resample(x, size, shift=shift, down=down)
    assert type(ours.grad_fn).__name__ == "MaxPoolBackward"
    weight = torch.randn_like(ours)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x)
    without_kernels(monkeypatch)
    theirs = resample(x, size, shift=shift, down=down)
    (expected,) = torch.autograd.grad((theirs * weight).sum(), x)
    assert torch.equal(ours, theirs)
    tolerance = {} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}  # PyTorch sums in bfloat16
    torch.testing.assert_close(gradient, expected, **tolerance)


def test_windows_that_do_not_tile_the_map_are_left_to_pytorch():
    x = map_of(3, 12, 12)
    assert size_of(resample(x, (5, 5), shift=1)) == (5, 5)
    assert pool_window((12, 12), (5, 5), stride=2, down="max_pool") is None


def test_a_nan_is_kept():
    x = map_of(4, 8, 8)
    x[0, 1, 3, 2] = torch.nan
    assert resample(x, (4, 4), shift=1).isnan().nonzero().tolist() == [[0, 1, 1, 1]]


@pytest.mark.parametrize("name", MERGE_NECKS)
def test_a_fused_neck_computes_the_same_with_the_kernel(name, monkeypatch):
    neck = randomised(CASES[name]()).eval().to(DEVICE)
    maps = {key: x.to(DEVICE) for key, x in features(neck, (133, 210)).items()}
    launched = count_launches(monkeypatch)
    with torch.no_grad():
        ours = neck.fuse()(maps)
        assert launched or not any("merged(" in str(with_kernels(part.program)) for part in neck.pyramids)
        without_kernels(monkeypatch)
        theirs = neck(maps)
    for x, y in zip(ours.values(), theirs.values(), strict=True):
        assert (x - y).abs().max() <= (1e-5 if DEVICE == "cpu" else 1e-2) * y.abs().max()


def count_launches(monkeypatch):
    launched = []
    module = sys.modules["necks.gpu.merging"] if DEVICE == "cpu" else importlib.import_module("necks.gpu.merging")
    launch = module.launch
    monkeypatch.setattr(module, "launch", lambda *given: launched.append(1) or launch(*given))
    return launched


def test_more_inputs_than_a_genotype_of_two_has_are_one_sum(monkeypatch):
    neck = randomised(build_neck("fully_connected_fpn", in_channels=(4, 5, 6), out_channels=8)).eval().to(DEVICE)
    maps = {key: x.to(DEVICE) for key, x in features(neck, (96, 160)).items()}
    launched = count_launches(monkeypatch)
    with torch.no_grad():
        neck.fuse()(maps)
    assert len(launched) == len(neck.pyramids[0].cells)


def test_small_maps_are_the_kernels_once_and_in_a_cuda_graph(monkeypatch):
    monkeypatch.setattr("necks.kernels.LARGE", 2**24)
    neck = randomised(build_neck("nas_fpn@mmdet", in_channels=(4, 5, 6), out_channels=8)).eval().to(DEVICE).fuse()
    launched = count_launches(monkeypatch)
    sizes = [{key: x.to(DEVICE) for key, x in features(neck, size).items()} for size in ((96, 160), (64, 64))]

    def launches(maps, recording):
        monkeypatch.setattr("necks.kernels._recording", lambda x: recording)
        launched.clear()
        with torch.no_grad():
            neck(maps)
        return len(launched)

    each = len(neck.pyramids[0].cells)
    assert launches(sizes[0], False) >= each
    assert launches(sizes[0], False) == 0
    assert launches(sizes[0], True) >= each
    assert launches(sizes[1], True) == 0, "a graph must not have to compile"


def test_a_neck_that_learns_has_no_kernel_of_the_merges(monkeypatch):
    neck = randomised(build_neck("nas_fpn@mmdet", in_channels=(4, 5, 6), out_channels=8)).to(DEVICE)
    launched = count_launches(monkeypatch)
    outputs(neck, {key: x.to(DEVICE) for key, x in features(neck, (96, 160)).items()})
    assert not launched


@pytest.mark.parametrize("name", ["nas_fpn@mmdet", "bifpn@effdet"])
def test_gradients_of_a_neck_in_channels_last_are_the_same(name, monkeypatch):
    neck = randomised(CASES[name]()).train().to(DEVICE, memory_format=torch.channels_last)
    maps = {
        key: x.to(DEVICE).contiguous(memory_format=torch.channels_last).requires_grad_()
        for key, x in features(neck, (96, 160)).items()
    }

    def gradients():
        loss = sum(x.square().mean() for x in neck(maps).values())
        return torch.autograd.grad(loss, [*maps.values(), *neck.parameters()])

    ours = gradients()
    without_kernels(monkeypatch)
    for one, other in zip(ours, gradients(), strict=True):
        assert (one - other).abs().max() <= (1e-5 if DEVICE == "cpu" else 1e-2) * other.abs().max() + 1e-6


@pytest.mark.parametrize("down", DOWNS)
def test_windows_of_more_places_than_the_kernel_counts_are_left_to_pytorch(down):
    x = map_of(3, 512, 512).requires_grad_()
    ours = resample(x, (2, 2), shift=8, down=down)
    assert type(ours.grad_fn).__name__ != "MaxPoolBackward"
    assert pool_window((512, 512), (2, 2), stride=256, down=down) is None


TERMS = {
    "same": lambda x: Term(x),
    "up": lambda x: Term(x[..., ::2, ::3].contiguous(memory_format=torch.channels_last), 0.3),
    "gated": lambda x: Term(x, 1.0, x.mean(dim=(2, 3), keepdim=True)),
}


@pytest.mark.parametrize("activation", ["none", "relu", "silu"])
@pytest.mark.parametrize("down", DOWNS)
def test_the_kernel_of_a_merge_computes_what_its_reference_does(down, activation):
    size, source = (13, 9), (25, 17)
    x = map_of(5, *source)
    window = pool_window(source, size, stride=2, down=down)
    terms = [*(make(map_of(5, *size)) for make in TERMS.values()), Term(x, 0.7, None, window)]
    assert window is not None
    torch.testing.assert_close(merged(terms, size, activation), merged_by_torch(terms, size, activation))


def test_an_unknown_activation_is_refused():
    with pytest.raises(Exception, match="unknown activation"):
        merged([Term(map_of(5, 4, 4))], (4, 4), "gelu")
    with pytest.raises(KeyError, match="gelu"):
        merged_by_torch([Term(map_of(5, 4, 4))], (4, 4), "gelu")
