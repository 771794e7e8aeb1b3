"""Conformance suite for necks: tests of what every `Neck` has to do, for a class of anyone's.

Needs pytest. Subclass `NeckConformance` in a test file and give it the fixture `make`:

    class TestMine(NeckConformance):
        @pytest.fixture
        def make(self):
            return lambda: MyNeck((8, 16, 32), out_channels=16)

`features`, `outputs` and `assert_close` are for tests of one's own.
"""

from necks.testing.maps import SIZES, Make, Maps, assert_close, features, outputs
from necks.testing.suite import NeckComputation, NeckConformance, NeckTracing

__all__ = [
    "SIZES",
    "Make",
    "Maps",
    "NeckComputation",
    "NeckConformance",
    "NeckTracing",
    "assert_close",
    "features",
    "outputs",
]
