"""The conformance suite over our controllers; a new one joins by its line in `controllers.CONTROLLERS`."""

import pytest

from controllers import CONTROLLERS
from controllers.testing import SPACE, ControllerConformance
from tests.support.controller_tools import MAKERS


class TestControllers(ControllerConformance):
    @pytest.fixture(params=MAKERS)
    def make(self, request):
        return MAKERS[request.param]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_state_of_any_other_controller_is_refused(name):
    for other in set(CONTROLLERS) - {name}:
        with pytest.raises(ValueError, match="the state has controller = "):
            CONTROLLERS[name](SPACE).load_state_dict(CONTROLLERS[other](SPACE).state_dict())
