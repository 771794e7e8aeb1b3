"""Conformance suite for controllers: tests of what every `Controller` has to do, for a class of anyone's.

Needs pytest. Subclass `ControllerConformance` in a test file and give it the fixture `make`:

    class TestMine(ControllerConformance):
        @pytest.fixture
        def make(self):
            return MyController

`Journal`, `outcome`, `reward` and `trajectory` are for tests of one's own.
"""

from controllers.testing.runs import SPACE, TINY, Journal, Make, outcome, reward, trajectory
from controllers.testing.suite import ControllerConformance

__all__ = ["SPACE", "TINY", "ControllerConformance", "Journal", "Make", "outcome", "reward", "trajectory"]
