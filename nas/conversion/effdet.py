"""effdet's EfficientDet: why it cannot be a RetinaNet here."""

from __future__ import annotations

from nas.conversion.parts import Categories, ConversionError, State
from nas.conversion.plan import Plan

REASONS = {
    ".conv_rep.0.conv_dw.": "its head has separable convolutions (conv_rep.*.conv_dw), heads here full ones",
    ".bn_rep.": "its head has batch norms of its own at every level (bn_rep.*), heads here none or one GroupNorm",
    ".predict.conv_dw.": "its predictions are separable convolutions (predict.conv_dw), here full ones",
    "backbone.conv_stem.": "its backbone is an EfficientNet (backbone.conv_stem), converted are ResNets",
}
"""Part of a name -> what a detector with such a tensor has."""


def effdet_plan(state: State, categories: Categories) -> Plan:
    """
    Raises:
        ConversionError: always, with the reasons that this state dict shows.
    """
    shown = [reason for part, reason in REASONS.items() if any(part in name for name in state)]
    reasons = shown or ["it is no EfficientDet: no class_net, no box_net"]
    raise ConversionError(
        "a whole detector of effdet cannot be converted:\n  "
        + "\n  ".join(reasons)
        + "\nits neck can: necks.reference.load_reference(necks.build_neck('bifpn@effdet', ...), state, 'effdet')"
    )
