"""Door to Ray Tune: a controller as a Tune `Searcher`, the proxy task as a trainable, for a `Tuner` of your own.

`NeckSearcher` suggests necks, `neck_trainable` trains them and reports at rungs, `tuner_parts` puts both together.
"""

from nas.tune.parts import tuner_parts
from nas.tune.searcher import NeckSearcher
from nas.tune.trainable import neck_trainable

__all__ = ["NeckSearcher", "neck_trainable", "tuner_parts"]
