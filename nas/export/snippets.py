"""Source of the functions that generated files are made of; a file has those that it calls."""

from __future__ import annotations

UP = '''
def up(x: Tensor, size: Size) -> Tensor:
    """Nearest neighbours."""
    return F.interpolate(x, size=size, mode="nearest")
'''

FIT = '''
def fit(x: Tensor, size: Size) -> Tensor:
    """The map as it is, or pooled where it misses the size of its level."""
    return x if x.shape[-2:] == size else F.adaptive_max_pool2d(x, size)
'''

DOWN = {
    "max_pool": '''
def down(x: Tensor, size: Size, stride: int) -> Tensor:
    """Max-pool whose last windows are cut short at the border; spread windows where that misses `size`."""
    pooled = F.max_pool2d(x, stride, ceil_mode=True)
    return pooled if pooled.shape[-2:] == size else F.adaptive_max_pool2d(x, size)
''',
    "max_pool3": '''
def down(x: Tensor, size: Size, stride: int) -> Tensor:
    """Max-pool with windows that overlap; spread windows where that misses `size`."""
    pooled = F.max_pool2d(x, stride + 1, stride, padding=stride // 2)
    return pooled if pooled.shape[-2:] == size else F.adaptive_max_pool2d(x, size)
''',
    "max_pool3_same": '''
def down(x: Tensor, size: Size, stride: int) -> Tensor:
    """Max-pool with windows that overlap; spread windows where that misses `size`."""
    pooled = same_max_pool(x, stride)
    return pooled if pooled.shape[-2:] == size else F.adaptive_max_pool2d(x, size)
''',
    "max_pool_padded": '''
def down(x: Tensor, size: Size) -> Tensor:
    """Max-pool after zero padding to a multiple of `size` on both sides."""
    kernel = [-(-side // target) for side, target in zip(x.shape[-2:], size, strict=True)]
    pad_h, pad_w = (k * target - side for k, target, side in zip(kernel, size, x.shape[-2:], strict=True))
    x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
    return F.max_pool2d(x, kernel)
''',
}

SAME_MAX_POOL = '''
def same_max_pool(x: Tensor, stride: int) -> Tensor:
    """Max-pool of kernel `stride` + 1 with TensorFlow's SAME padding."""
    pad_h, pad_w = (max(0, (-(-side // stride) - 1) * stride + stride + 1 - side) for side in x.shape[-2:])
    x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2), value=float("-inf"))
    return F.max_pool2d(x, stride + 1, stride)
'''

HALVE = '''
def halve(x: Tensor) -> Tensor:
    """2x2 max-pool that drops an odd border, but keeps the last pixel."""
    height, width = x.shape[-2:]
    if min(height, width) > 1:
        return F.max_pool2d(x, 2)
    return F.adaptive_max_pool2d(x, (max(1, height // 2), max(1, width // 2)))
'''

GATED = {
    "max_coarse": '''
def gated(coarse: Tensor, fine: Tensor, source: Tensor) -> Tensor:
    """coarse + fine * sigmoid(global maximum of each channel of the coarse map, before it was resampled)."""
    gate = torch.sigmoid(source.amax(dim=(2, 3), keepdim=True))
    return torch.addcmul(coarse, fine, gate)
''',
    "avg_fine": '''
def gated(coarse: Tensor, fine: Tensor) -> Tensor:
    """fine + coarse * sigmoid(global average of each channel of the fine map)."""
    gate = torch.sigmoid(fine.mean(dim=(2, 3), keepdim=True))
    return fine + coarse * gate
''',
}

SHARES = '''
def shares(weight: Tensor) -> Tensor:
    """Positive weights that sum to almost one."""
    weight = F.relu(weight)
    return weight / (weight.sum() + 1e-4)
'''
