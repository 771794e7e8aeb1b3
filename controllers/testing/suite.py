"""The whole suite."""

from controllers.testing.outcomes import OutcomeTests
from controllers.testing.proposals import ProposalTests
from controllers.testing.recovery import RecoveryTests


class ControllerConformance(ProposalTests, OutcomeTests, RecoveryTests):
    """Tests of a controller; the fixture `make` returns its class, or what makes one."""
