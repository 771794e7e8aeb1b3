"""A training on Ray: any number of processes, on this machine or on a cluster, that goes on where it stopped."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from nas import interruption
from nas.data.archive import absolute
from nas.data.coco import open_splits
from nas.detection.config import absolute_weights
from nas.detection.saved import DETECTOR_FILE, WEIGHTS_FILE
from nas.errors import first_line
from nas.search.resources import ResourceConfig
from nas.training.config import TrainConfig
from nas.training.directory import TrainingDirectory
from nas.training.model import detector_spec
from nas.training.process import Failure, News, gpus_in_cluster, train_process
from nas.training.rendezvous import torch_config
from nas.training.trainer import Look, TrainingError
from nas.workers.ray_session import connected
from necks.exported import code_in
from search_space.references import is_trusted

POLL_SECONDS = 0.5
KEPT_CHECKPOINTS = 2

History = list[dict[str, float]]
Listener = Callable[[Look | None, History], None]


def run_training(config: TrainConfig, run: TrainingDirectory, told: Listener, *, address: str | None = None) -> History:
    """Train to the last epoch, from the last checkpoint in the directory if there is one; then write `model/`.

    Args:
        told: hears about twice a second of the latest look at the loss, and of all epochs that are over.
        address: Ray cluster; its machines must see the directory under the same path.

    Returns:
        One entry per epoch: `epoch`, `loss`, `lr`, `seconds`, and AP and its parts where they were measured.

    Raises:
        UserError: for data, weights, settings or losses that a training cannot be done with.
    """
    spec = detector_spec(config, open_splits(config.data).train)
    resources = ResourceConfig(workers=config.resources.processes, cpus=config.resources.cpus)
    placed = replace(config, data=absolute(config.data), backbone=absolute_weights(config.backbone))
    with connected(resources, address):
        news: Any = ray.remote(num_cpus=0)(News).remote()
        code = [name for name in code_in(spec.neck) if is_trusted(name)]
        job = {"config": placed, "spec": spec, "news": news, "directory": Path.cwd(), "code": code}
        with _listening(news, told):
            checkpoint = _fit(placed, run, job)
        _, history = ray.get(news.latest.remote())
    _keep(Path(checkpoint), run.model)
    return history


def _fit(config: TrainConfig, run: TrainingDirectory, job: dict[str, Any]) -> str:
    """Returns: path of the last checkpoint."""
    wish = config.resources
    use_gpu = gpus_in_cluster() > 0 if wish.gpu is None else wish.gpu
    trainer = TorchTrainer(
        train_process,
        train_loop_config=job,
        torch_config=torch_config(),
        scaling_config=ScalingConfig(
            num_workers=wish.processes, use_gpu=use_gpu, resources_per_worker={"CPU": wish.cpus, "GPU": int(use_gpu)}
        ),
        run_config=RunConfig(
            name=run.checkpoints.name,
            storage_path=str(run.path),
            failure_config=FailureConfig(max_failures=wish.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
        ),
    )
    try:
        result = _in_thread(trainer.fit)
    except ray.train.TrainingFailedError as error:
        raise _failed(run, job["news"]) or TrainingError(f"the training failed: {_cause(error)}") from error
    if (failure := _failed(run, job["news"])) is not None:
        raise failure
    assert result.checkpoint is not None
    return str(result.checkpoint.path)


def _failed(run: TrainingDirectory, news: Any) -> TrainingError | None:
    """The error that a process met and that no further attempt mends; its traceback is kept in the run directory."""
    failure: Failure | None = ray.get(news.failure.remote())
    if failure is None:
        return None
    if not failure.traceback:
        return TrainingError(failure.message)
    run.failure_log.write_text(failure.traceback)
    return TrainingError(f"{failure.message}; the traceback is in {run.failure_log}")


def _in_thread(work: Callable[[], Any]) -> Any:
    """Result or error of `work`; the main thread is free for signals, which Ray Train handles in its own way."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="fit", daemon=True).start()
    while not wait([future], POLL_SECONDS).done:
        interruption.check()
    return future.result()


@contextmanager
def _listening(news: Any, told: Listener) -> Iterator[None]:
    """Ask for news in a thread, and once more at the end."""
    over = threading.Event()

    def listen() -> None:
        with suppress(RayError):  # without Ray there are no news
            while not over.wait(POLL_SECONDS):
                told(*ray.get(news.latest.remote()))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(RayError):
            told(*ray.get(news.latest.remote()))


def _cause(error: BaseException) -> str:
    """Class and first line of the innermost reason, of a process's own error where there is one."""
    if isinstance(error, ray.train.WorkerGroupError) and error.worker_failures:
        error = error.worker_failures[min(error.worker_failures)]
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"


def _keep(checkpoint: Path, model: Path) -> None:
    """The detector of a checkpoint, in place of an older one."""
    partial = model.with_name(f"{model.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name in (DETECTOR_FILE, WEIGHTS_FILE):
        shutil.copyfile(checkpoint / name, partial / name)
    shutil.rmtree(model, ignore_errors=True)
    partial.replace(model)
