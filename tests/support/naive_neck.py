"""What a genotype and a recipe mean, written out map by map: an interpreter that shares no code with `necks`.

Shapes: a map is (N, C, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def naive_outputs(neck, features):
    """Outputs of a merge graph in evaluation mode, from its genotype, its recipe and its state dict."""
    return _Naive(neck).outputs(features)


class _Naive:
    def __init__(self, neck):
        self.state, self.recipe, self.genotype, self.neck = neck.state_dict(), neck.recipe, neck.genotype, neck

    def outputs(self, features):
        raw = list(features.values())
        maps = self.inputs(raw)
        for repeat in range(self.neck.repeats):
            maps = self.repeat(maps, f"pyramids.{repeat}")
        maps += self.beyond(raw[-1], maps[-1])
        return {f"p{level}": x for level, x in zip(self.neck.out_levels, maps, strict=True)}

    def inputs(self, raw):
        maps = [self.lateral(x, f"stem.laterals.{index}") for index, x in enumerate(raw)]
        kind, down, source = self.recipe.extra_inputs, self.recipe.down, raw[-1]
        for index in range(len(self.genotype.levels) - len(raw)):
            name = f"stem.extras.{index}"
            if kind == "pool_project":
                source = halve(source, "max_pool")
                maps.append(self.lateral(source, name))
            elif kind == "lateral_pool":
                projected = self.lateral(raw[-1], name) if index == 0 else maps[-1]
                maps.append(halve(projected, "max_pool" if down == "conv" else down))
            else:
                kept = down if down == "max_pool_padded" else "max_pool"
                maps.append(halve(self.lateral(maps[-1], name), kept))
        return maps

    def repeat(self, maps, prefix):
        levels = self.genotype.levels
        cells = self.genotype.cells
        node_levels = [*levels, *(cell.level for cell in cells)]
        dangling = self.dangling(node_levels)
        last = {level: node for node, level in enumerate(node_levels)}
        alive = set()
        waiting = list(last.values())
        while waiting:
            node = waiting.pop()
            alive.add(node)
            if node >= len(levels):
                waiting += [*cells[node - len(levels)].inputs, *dangling[node - len(levels)]]
        sizes = {level: x.shape[-2:] for level, x in zip(levels, maps, strict=True)}
        nodes = dict(enumerate(maps))
        built = 0
        for index, cell in enumerate(cells):
            node = len(levels) + index
            if node in alive:
                name = f"{prefix}.cells.{built}"
                nodes[node] = self.cell(cell, dangling[index], nodes, node_levels, sizes[cell.level], name)
                built += 1
        return [nodes[last[level]] for level in levels]

    def dangling(self, node_levels):
        first, used, added = len(self.genotype.levels), set(), []
        for index, cell in enumerate(self.genotype.cells):
            used |= set(cell.inputs)
            later = [other.level for other in self.genotype.cells[index + 1 :]]
            extra = []
            if self.genotype.merge_dangling and cell.level not in later:
                extra = [n for n in range(first + index) if n not in used and node_levels[n] == cell.level]
            used |= set(extra)
            added.append(extra)
        return added

    def cell(self, cell, dangling, nodes, node_levels, size, name):
        sources, maps = [], []
        for place, node in enumerate([*cell.inputs, *dangling]):
            edge = f"{name}.edges.{place}"
            source = self.lateral(nodes[node], f"{edge}.project")
            sources.append(source)
            maps.append(self.resampled(source, cell.level - node_levels[node], size, f"{edge}.strided.conv"))
        count = len(cell.inputs)
        total = self.merged(cell, sources[:count], maps[:count], [node_levels[node] for node in cell.inputs], name)
        for x in maps[count:]:
            total = total + x
        return total if cell.transform == "none" else self.transformed(total, cell.transform, f"{name}.transform")

    def resampled(self, x, shift, size, strided):
        if shift == 0:
            return x
        if shift < 0:
            rows, columns = (nearest(have, want) for have, want in zip(x.shape[-2:], size, strict=True))
            return x[..., rows, :][..., columns]
        if self.recipe.down != "conv":
            return pooled(x, size, 2**shift, self.recipe.down)
        if shift > 1:
            x = pooled(x, [-(-side // 2 ** (shift - 1)) for side in x.shape[-2:]], 2 ** (shift - 1), "max_pool")
        x = self.transformed(x, "conv", strided, stride=2)
        return x if x.shape[-2:] == size else spread(x, size)

    def merged(self, cell, sources, maps, levels, name):
        if cell.merge == "sum":
            return sum(maps)
        if cell.merge == "attention":
            coarse, fine = (0, 1) if levels[0] >= levels[1] else (1, 0)
            if self.recipe.gate == "max_coarse":
                gate = sources[coarse].flatten(2).max(dim=2).values.sigmoid()
                return maps[coarse] + maps[fine] * gate[:, :, None, None]
            gate = maps[fine].flatten(2).mean(dim=2).sigmoid()
            return maps[fine] + maps[coarse] * gate[:, :, None, None]
        weight = self.state[f"{name}.weight"]
        if cell.merge == "softmax":
            weight = weight.exp() / weight.exp().sum()
        else:
            assert cell.merge == "fast_normalized"
            weight = weight.clamp(min=0) / (weight.clamp(min=0).sum() + 1e-4)
        return sum(w * x for w, x in zip(weight, maps, strict=True))

    def transformed(self, x, kind, name, stride=1):
        active = kind == "conv"
        if active and self.recipe.order == "act_conv_norm":
            x = self.activated(x)
        x = self.normed(self.convolved(x, f"{name}.conv", stride), f"{name}.norm")
        return self.activated(x) if active and self.recipe.order == "conv_norm_act" else x

    def activated(self, x):
        return {"relu": x.clamp(min=0), "silu": x * x.sigmoid(), "none": x}[self.recipe.activation]

    def lateral(self, x, name):
        """Nothing where there are no weights."""
        if any(key.startswith(f"{name}.conv.") for key in self.state):
            return self.normed(self.convolved(x, f"{name}.conv", 1), f"{name}.norm")
        return x

    def convolved(self, x, name, stride):
        depthwise = self.state.get(f"{name}.depthwise.weight")
        if depthwise is not None:
            x = F.conv2d(x, depthwise, None, stride, depthwise.shape[-1] // 2, groups=x.shape[1])
            name, stride = f"{name}.pointwise", 1
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def normed(self, x, name):
        if f"{name}.weight" not in self.state:
            return x
        scale, shift = (self.state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        if f"{name}.running_mean" in self.state:
            mean, variance = (self.state[f"{name}.running_{part}"][:, None, None] for part in ("mean", "var"))
            return (x - mean) / (variance + self.recipe.norm_eps).sqrt() * scale + shift
        groups = x.unflatten(1, (self.recipe.norm_groups, -1)).flatten(2)
        centred = groups - groups.mean(dim=2, keepdim=True)
        variance = centred.square().mean(dim=2, keepdim=True)
        return (centred / (variance + self.recipe.norm_eps).sqrt()).reshape(x.shape) * scale + shift

    def beyond(self, feature, last):
        maps = []
        for index in range(len(self.neck.out_levels) - len(self.genotype.levels)):
            if self.recipe.extra_outputs == "subsample":
                last = last[..., ::2, ::2]
            else:
                if index == 0 and self.recipe.extra_outputs == "p6p7_c5":
                    last = feature
                elif index and self.recipe.extra_activation:
                    last = last.clamp(min=0)
                name = f"extra.convs.{index}"
                last = self.normed(self.convolved(last, f"{name}.conv", 2), f"{name}.norm")
            maps.append(last)
        return maps


def nearest(have, want):
    """PyTorch's choice of rows, whose ratio is in single precision."""
    ratio = torch.tensor(have / want, dtype=torch.float32)
    return (torch.arange(want, dtype=torch.float32) * ratio).floor().long().clamp(max=have - 1)


def halve(x, down):
    sides = x.shape[-2:]
    if down == "max_pool_padded":
        cut = x[..., : max(2, sides[0] // 2 * 2), : max(2, sides[1] // 2 * 2)] if min(sides) > 1 else x
        return spread(cut, [max(1, side // 2) for side in sides])
    return pooled(x, [-(-side // 2) for side in sides], 2, down)


def pooled(x, size, stride, down):
    axes = [windows(side, want, stride, down) for side, want in zip(x.shape[-2:], size, strict=True)]
    if any(len(found) != want for found, want in zip(axes, size, strict=True)):
        return spread(x, size)
    return largest(x, *axes, zeros=down == "max_pool_padded")


def windows(side, want, stride, down):
    """Windows along one axis, borders not yet looked at."""
    if down == "max_pool_padded":
        length = -(-side // want)
        before = (length * want - side) // 2
        return [(index * length - before, (index + 1) * length - before) for index in range(want)]
    if down == "max_pool":
        return [(start, start + stride) for start in range(0, side, stride)]
    before, count = stride // 2, (side + stride // 2 * 2 - stride - 1) // stride + 1
    if down == "max_pool3_same":
        count = -(-side // stride)
        before = max(0, (count - 1) * stride + stride + 1 - side) // 2
    return [(index * stride - before, index * stride - before + stride + 1) for index in range(count)]


def spread(x, size):
    axes = [
        [(index * side // want, -(-(index + 1) * side // want)) for index in range(want)]
        for side, want in zip(x.shape[-2:], size, strict=True)
    ]
    return largest(x, *axes)


def largest(x, rows, columns, *, zeros=False):
    """The largest value of each window; beyond the border are zeros or nothing."""
    height, width = x.shape[-2:]
    result = x.new_empty(*x.shape[:2], len(rows), len(columns))
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            found = x[..., max(top, 0) : bottom, max(left, 0) : right].amax(dim=(2, 3))
            outside = top < 0 or left < 0 or bottom > height or right > width
            result[..., i, j] = found.clamp(min=0) if zeros and outside else found
    return result
