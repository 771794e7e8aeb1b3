"""Outputs of TensorFlow's public NAS-FPN decoder, full and separable: `tf_nas_fpn*.npz` and, beside each, its `.json`.

The decoder is `official.vision.modeling.decoders.nasfpn.NASFPN` of tf-models-official, unmodified, in inference mode.
It runs in float64, so that the golden's own rounding is out of the way (4e-5 in float32, at values up to 16).

Its variables and inputs come from `reference_weights`; variables are filled by role, because Keras names them by the
order of their creation in the process:

    lateral/{level}/...            of the backbone map of that level; levels that need no projection have none
    cell/{repeat}/{index}/...      index 0..6 in the order of the published cell
    .../kernel | depthwise_kernel, pointwise_kernel | bias | gamma | beta | moving_mean | moving_variance

Shapes are TensorFlow's: kernels (H, W, in, out), depthwise kernels (H, W, C, 1). Outputs are stored as
`{height}x{width}_p{level}`, (1, C / stride, H, W).

Run in an environment of its own, on the CPU:

    uv venv tf --python 3.11
    uv pip install --python tf/bin/python --no-deps tf-models-official==2.19.1 tf-keras==2.19.0
    uv pip install --python tf/bin/python tensorflow-cpu==2.19.1 torch pyyaml gin-config scipy pycocotools \
        pillow opencv-python-headless matplotlib tensorflow-datasets 'tensorflow-metadata<1.18'
    tf/bin/python tests/necks/goldens/make_tf_nas_fpn.py
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf_keras  # noqa: E402
from official.vision.modeling.decoders.nasfpn import NASFPN, NASFPN_BLOCK_SPECS  # noqa: E402

from tests.support.reference_weights import pyramid_sizes, random_maps, random_state  # noqa: E402

COMMAND = "python tests/necks/goldens/make_tf_nas_fpn.py"
IN_CHANNELS = {3: 16, 4: 256, 5: 24}
LEVELS = range(3, 8)
FILTERS = 256
"""Any other width gives every operand of every cell a 1x1 conv + BN to 256 upstream."""
REPEATS = 2
SIZES = ((128, 128), (256, 128))
STATE_SEED, MAPS_SEED = 0, 1
CHANNEL_STRIDE = 16
DANGLING = {4: 2, 5: 4}
"""Cell index -> offset of the node that it adds because nothing else has used it: P5 and P7 of the repeat's inputs."""


def main() -> None:
    tf_keras.backend.set_floatx("float64")
    for separable in (False, True):
        tf_keras.backend.clear_session()
        neck = NASFPN(
            {str(level): tf.TensorShape([1, None, None, channels]) for level, channels in IN_CHANNELS.items()},
            min_level=LEVELS[0],
            max_level=LEVELS[-1],
            num_filters=FILTERS,
            num_repeats=REPEATS,
            use_separable_conv=separable,
        )
        variables = variables_by_role(neck)
        shapes = {role: [int(side) for side in variable.shape] for role, variable in variables.items()}
        for role, value in random_state(shapes, STATE_SEED).items():
            variables[role].assign(value.numpy())
        stem = HERE / f"tf_nas_fpn{'_separable' if separable else ''}"
        np.savez_compressed(stem.with_suffix(".npz"), **outputs(neck))
        about = {
            "made_by": COMMAND,
            "source": "official.vision.modeling.decoders.nasfpn.NASFPN, inference, CPU, float64; stored as float32",
            "versions": {name: version(name) for name in ("tensorflow-cpu", "tf-keras", "tf-models-official")},
            "in_levels": list(IN_CHANNELS),
            "in_channels": list(IN_CHANNELS.values()),
            "out_levels": list(LEVELS),
            "out_channels": FILTERS,
            "repeats": REPEATS,
            "separable": separable,
            "sizes": SIZES,
            "batch": 1,
            "state_seed": STATE_SEED,
            "maps_seed": MAPS_SEED,
            "channel_stride": CHANNEL_STRIDE,
        }
        stem.with_suffix(".json").write_text(as_json(about, shapes))


def outputs(neck: tf_keras.Model) -> dict[str, np.ndarray]:
    found = {}
    for size in SIZES:
        maps = random_maps(tuple(IN_CHANNELS.values()), pyramid_sizes(size, tuple(IN_CHANNELS)), MAPS_SEED, batch=1)
        channels_last = [x.double().numpy().transpose(0, 2, 3, 1) for x in maps.values()]
        pyramid = neck({str(level): x for level, x in zip(IN_CHANNELS, channels_last, strict=True)}, training=False)
        for level in LEVELS:
            channels_first = pyramid[str(level)].numpy().transpose(0, 3, 1, 2)
            found[f"{size[0]}x{size[1]}_p{level}"] = channels_first[:, ::CHANNEL_STRIDE].astype(np.float32)
    return found


def variables_by_role(neck: tf_keras.Model) -> dict[str, tf.Variable]:
    """Each variable under its role, in the order of the network.

    A convolution is known by what it reads: the graph is followed upwards to the nearest batch norms or inputs, and
    that set differs from cell to cell. The order in which Keras numbered the layers must then be that of the roles.
    """
    kinds = (tf_keras.layers.Conv2D, tf_keras.layers.SeparableConv2D)
    convs = [layer for layer in neck.layers if isinstance(layer, kinds)]
    norms = {parent(norm): norm for norm in neck.layers if isinstance(norm, tf_keras.layers.BatchNormalization)}
    assert set(norms) == set(convs), "every convolution has its batch norm"
    by_reads = {frozenset(map(id, sources(parent(conv)))): conv for conv in convs}
    assert len(by_reads) == len(convs), "no two convolutions read the same layers"

    roles: dict[str, tf_keras.layers.Layer] = {}
    nodes: list[tf_keras.layers.Layer] = []
    for level, name in zip(IN_CHANNELS, neck.input_names, strict=True):
        source = neck.get_layer(name)
        assert source.output.shape[-1] == IN_CHANNELS[level], "inputs come in the order of their levels"
        if IN_CHANNELS[level] != FILTERS:
            conv = by_reads.pop(frozenset([id(source)]))
            assert conv.kernel_size == (1, 1)
            roles[f"lateral/{level}"] = conv
            source = norms[conv]
        nodes.append(source)
    nodes += [nodes[-1]] * (len(LEVELS) - len(nodes))
    for repeat in range(REPEATS):
        by_level = {}
        for index, (level, _, offsets, is_output) in enumerate(NASFPN_BLOCK_SPECS):
            reads = [*offsets, *([DANGLING[index]] if index in DANGLING else [])]
            conv = by_reads.pop(frozenset(id(nodes[offset]) for offset in reads))
            assert conv.kernel_size == (3, 3)
            roles[f"cell/{repeat}/{index}"] = conv
            nodes.append(norms[conv])
            if is_output:
                by_level[level] = norms[conv]
        nodes = [by_level[level] for level in LEVELS]
    assert not by_reads, "every convolution has a role"
    for several in (list(roles.values()), [norms[conv] for conv in roles.values()]):
        numbers = [number(layer) for layer in several]
        assert numbers == sorted(numbers), "roles follow the order of creation"

    return {
        f"{role}/{variable.name.rsplit('/', 1)[-1].removesuffix(':0')}": variable
        for role, conv in roles.items()
        for layer in (conv, norms[conv])
        for variable in layer.weights
    }


def parent(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    (node,) = layer.inbound_nodes
    (above,) = node.parent_nodes
    return above.layer


def sources(layer: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
    if isinstance(layer, (tf_keras.layers.BatchNormalization, tf_keras.layers.InputLayer)):
        return [layer]
    (node,) = layer.inbound_nodes
    return [source for above in node.parent_nodes for source in sources(above.layer)]


def number(layer: tf_keras.layers.Layer) -> int:
    tail = layer.name.rsplit("_", 1)[-1]
    return int(tail) if tail.isdecimal() else 0


def as_json(about: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> str:
    """Indented, but with one line per variable."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in about.items()]
    rows = [f"    {json.dumps(role)}: {json.dumps(shape)}" for role, shape in shapes.items()]
    return "\n".join(["{", *lines, '  "shapes": {', ",\n".join(rows), "  }", "}", ""])


if __name__ == "__main__":
    main()
