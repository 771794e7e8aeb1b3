"""The choices that a recipe has, field by field, and which public necks make them."""

from typing import Literal

Activation = Literal["relu", "silu", "none"]
Norm = Literal["batch", "group", "none"]

Order = Literal["act_conv_norm", "conv_norm_act"]
"""NAS-FPN and BiFPN activate first; PANet with GroupNorm last."""

Laterals = Literal["stem", "edges"]
"""`stem`: one lateral per backbone level, whatever uses it. `edges`: each edge from a map of another width has its own
1x1 conv and norm (BiFPN's first layer: six of them)."""

Down = Literal["max_pool", "max_pool_padded", "max_pool3", "max_pool3_same", "conv"]
"""From a level s levels finer. `max_pool`: kernel = stride = 2^s (NAS-FPN). `max_pool_padded`: the same after zero
padding on both sides to a multiple (mmcv). `max_pool3`: kernel 2^s + 1, padded on both sides (effdet).
`max_pool3_same`: TensorFlow's SAME padding (automl, effdet's tf_ models). `conv`: 3x3 of stride 2 with the recipe's
norm and activation, after a max-pool of 2^(s - 1) where s > 1 (PANet and mmdetection's PAFPN, where s is 1)."""

Gate = Literal["max_coarse", "avg_fine"]
"""`max_coarse`: coarse + fine * sigmoid(global max of coarse) (NAS-FPN). `avg_fine`: fine + coarse * sigmoid(global
average of fine, at the cell's size) (mmcv)."""

ExtraInputs = Literal["max_pool", "pool_project", "project_pool", "lateral_pool"]
"""`max_pool`: 2x2 pools of the last projected map (TensorFlow's NAS-FPN). `pool_project`: C5 pooled by 2, 4, ..., then
a lateral each (NAS-FPN's paper). `project_pool`: per level a 1x1 conv and norm, then a 2x2 pool (mmdetection's NASFPN).
`lateral_pool`: C5 through one more lateral, then pools like `down` (BiFPN)."""

ExtraOutputs = Literal["subsample", "p6p7_c5", "p6p7_p5"]
"""`subsample`: every second pixel of the last output. `p6p7_c5`, `p6p7_p5`: 3x3 convs of stride 2, the first on C5 or
on the last output (RetinaNet)."""

Init = Literal["he_fan_out", "caffe2_xavier", "xavier"]
"""`he_fan_out`: normal, variance 2 / fan-out (TensorFlow's NAS-FPN). `caffe2_xavier`: uniform, bound sqrt(3 / fan-in)
(torchvision, PANet). `xavier`: Glorot uniform (mmdetection)."""
