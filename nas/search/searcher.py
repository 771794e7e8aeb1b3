"""Ray Tune's view of the plan."""

from __future__ import annotations

import json
from typing import Any

from ray.tune.search import Searcher

from nas.errors import UserError
from nas.search.plan import Plan

LOST = "the worker died (killed, or out of memory) and so did those that tried again"
MAX_LOST = 3
"""Trials in a row that may lose their workers before anything was finished; then the fault is not the candidates'."""


class WorkersError(UserError):
    """No worker gets as far as a result, so no candidate can be scored."""


class PlanSearcher(Searcher):
    """Hands the plan's trials to Tune and Tune's results to the plan.

    Tune pickles its searcher for a restore that we never use: the journal is the truth. So nothing of it is pickled.
    Exceptions in here would end the search with a misleading message; they are kept in `crash` instead, and nothing
    more is started.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan: Plan | None = plan
        self._numbers: dict[str, int] = {}
        self._lost_in_a_row: int | None = 0
        self.crash: BaseException | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plan": None, "crash": None}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.crash is not None:
            return Searcher.FINISHED
        assert self._plan is not None
        try:
            following = self._plan.next()
        except Exception as error:
            self.crash = error
            return Searcher.FINISHED
        if following is None:
            return Searcher.FINISHED
        number, candidate = following
        self._numbers[trial_id] = number
        return {"number": number, "genotype": candidate.genotype.to_json(indent=None)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assert self._plan is not None
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        try:
            self._take(number, None if error else result)
        except Exception as crash:
            self.crash = crash

    def _take(self, number: int, result: dict[str, Any] | None) -> None:
        assert self._plan is not None
        if result is None:
            self._plan.fail(number, LOST)
            self._count_lost()
            return
        if "fatal" in result:
            raise WorkersError(f"a worker could not be set up: {result['fatal']}")
        self._lost_in_a_row = None
        if "error" in result:
            self._plan.fail(number, result["error"])
        else:
            self._plan.complete(number, result["reward"], json.loads(result["metrics"]))

    def _count_lost(self) -> None:
        if self._lost_in_a_row is None:
            return
        self._lost_in_a_row += 1
        if self._lost_in_a_row == MAX_LOST:
            raise WorkersError(
                f"the first {MAX_LOST} trials all lost their workers, so the search was stopped; Ray's logs say why "
                "(memory? a module that workers cannot import?): see the session_latest directory of Ray's temp folder"
            )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see the class."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its journal: run the same command again")
