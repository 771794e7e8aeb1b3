"""Ray Tune's view of the plan."""

from __future__ import annotations

import json
from typing import Any

from ray.tune.search import Searcher

from nas.errors import UserError
from nas.search.plan import Plan

LOST = "the worker died (killed, out of memory, or a broken GPU context) and so did those that tried again"
MAX_FAILED_FIRST = 5
"""Trials that may fail before any is scored; then the fault is not the candidates'."""


class WorkersError(UserError):
    """No candidate can be scored, for a reason that is not the candidates'."""


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
        self._failed_first = 0
        self._any_scored = False
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
            return None if self._plan.may_go_on else Searcher.FINISHED
        number, candidate = following
        self._numbers[trial_id] = number
        genotype = candidate.genotype.to_json(indent=None)
        return {"number": number, "genotype": genotype, "limited": not candidate.is_known}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        assert self._plan is not None
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        try:
            self._take(number, None if error else result)
        except Exception as crash:
            self.crash = self.crash or crash

    def _take(self, number: int, result: dict[str, Any] | None) -> None:
        assert self._plan is not None
        if result is not None and "fatal" in result:
            raise WorkersError(f"a worker could not be set up: {result['fatal']}")
        if result is not None and "metrics" in result:
            self._any_scored = True
            self._plan.complete(number, json.loads(result["metrics"]))
            return
        if result is not None and "rejected" in result:
            self._plan.reject(number, json.loads(result["rejected"]))
            return
        error = LOST if result is None else result["error"]
        self._plan.fail(number, error)
        self._failed_first += 1
        if not self._any_scored and self._failed_first == MAX_FAILED_FIRST:
            raise WorkersError(
                f"the first {MAX_FAILED_FIRST} trials all failed, so the search was stopped; the last reason: {error}"
            )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see the class."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a search is resumed from its journal: run the same command again")
