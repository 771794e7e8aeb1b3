"""Trackers that are known by name; each imports its package when it starts."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.tracking.tracker import Tracked, Tracker

PROJECT = "nas-fpn"
"""Of W&B, where `WANDB_PROJECT` names no other; experiment of MLflow, where `MLFLOW_EXPERIMENT_NAME` names no other."""

MAX_PARAMETER = 500
"""Characters of a parameter that MLflow takes."""
MAX_NAME = 250
"""Characters of a name, likewise."""


class TensorBoardTracker:
    """Event files in `tensorboard/` of the run directory: `tensorboard --logdir RUN_DIR`; the writer comes with Ray."""

    def start(self, run: Tracked) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        self._writer = SummaryWriter(str(run.directory / "tensorboard"))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def artifact(self, path: Path) -> None:
        """Event files hold no files."""

    def end(self) -> None:
        self._writer.close()


class WandbTracker:
    """A run in Weights & Biases; `WANDB_MODE=offline` keeps it in `wandb/` of the run directory."""

    def start(self, run: Tracked) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=None if _is_set("WANDB_PROJECT") else PROJECT,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=str(run.directory),
            config=dict(run.config),
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def artifact(self, path: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"{path.stem}-{self._run.id}", type="result")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def end(self) -> None:
        self._run.finish()


class MlflowTracker:
    """A run in MLflow, at `MLFLOW_TRACKING_URI`."""

    def start(self, run: Tracked) -> None:
        import mlflow
        from ray.tune.utils import flatten_dict

        self._client = mlflow.MlflowClient()
        if not _is_set("MLFLOW_EXPERIMENT_NAME"):
            mlflow.set_experiment(PROJECT)
        tag = "nas_fpn.id"
        with mlflow.start_run(run_id=self._earlier(mlflow, tag, run.id), run_name=run.name) as active:
            self._id = active.info.run_id
            mlflow.set_tag(tag, run.id)
            if not active.data.params:
                fields = flatten_dict(dict(run.config), delimiter=".")
                mlflow.log_params({_mlflow_name(name): str(value)[:MAX_PARAMETER] for name, value in fields.items()})
        self._client.update_run(self._id, status="RUNNING")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._id, _mlflow_name(name), value, step=step)

    def artifact(self, path: Path) -> None:
        self._client.log_artifact(self._id, str(path))

    def end(self) -> None:
        self._client.set_terminated(self._id)

    def _earlier(self, mlflow: Any, tag: str, name: str) -> str | None:
        found = mlflow.search_runs(filter_string=f"tags.`{tag}` = '{name}'", output_format="list", max_results=1)
        return found[0].info.run_id if found else None


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}

EXTRAS = ("wandb", "mlflow")
"""Trackers whose package the extra of the same name installs."""


def _mlflow_name(name: str) -> str:
    """A name as MLflow takes it: classes and necks may have any."""
    return posixpath.normpath(re.sub(r"[^/\w.\- ]", "_", name.replace("@", " at ")))[:MAX_NAME]


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name))
