"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nas.bounds import MAX_TRIALS

if TYPE_CHECKING:
    from nas.data.image_files import Reading

ADDRESS = "Address of the Ray cluster, such as auto or HOST:6379; default: this machine."
Hours = Annotated[
    float | None, typer.Option(help="Hours for the search and its confirmation, instead of a number of candidates.")
]
GpuHours = Annotated[
    float | None, typer.Option(help="GPU-hours of all trials together, instead of a number of candidates.")
]
Until = Annotated[
    float | None, typer.Option(metavar="AP", help="Stop proposing candidates once one of them reaches this AP.")
]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Log to tensorboard, wandb, mlflow, or a tracker module:class; may be repeated."),
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="The same as --track tensorboard.")]

Trials = Annotated[int | None, typer.Option(help="Number of candidates that the controller proposes.")]
ControllerName = Annotated[
    str | None,
    typer.Option(help="Controller: random, evolution, ppo, tpe, nsga2, or a class of your own (file.py:Class)."),
]
Workers = Annotated[int | None, typer.Option(help="Trials at once; default: as many as the machines have room for.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Set any field, such as proxy.steps=600.")
]
TrainAssignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Set any field, such as batch_size=16.")
]
RunDir = Annotated[str, typer.Argument(metavar="RUN_DIR", help="Directory of a search, or its URL.")]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print a second line per trial: all APs, latency, what its cells compute."),
]

DetectorDir = Annotated[
    str, typer.Argument(metavar="DETECTOR_DIR", help="A saved detector (nasfpn train, convert), or its URL.")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Longer side of the images in pixels; default: as in the training.")
]
BatchSize = Annotated[int, typer.Option(help="Images per batch.")]
Resize = Annotated[
    str, typer.Option(help="letterbox for detectors trained by nasfpn train; torchvision for converted detectors.")
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, xpu or mps.")]
ValueRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Values that become black and white in grey images of more than 8 bits."),
]
MaxPixels = Annotated[int | None, typer.Option(min=1, help="Largest number of pixels of an image that is read.")]


def reading_of(value_range: tuple[float, float] | None, max_pixels: int | None) -> Reading:
    """
    Raises:
        BadParameter: for a range that does not rise.
    """
    from nas.data.image_files import MAX_PIXELS, Reading

    if value_range is not None and not value_range[0] < value_range[1]:
        raise typer.BadParameter(f"LOW must be less than HIGH, got {value_range}", param_hint="--value-range")
    return Reading(value_range=value_range, max_pixels=max_pixels or MAX_PIXELS)


def budgeted(
    trials: int | None, hours: float | None, gpu_hours: float | None, until: float | None
) -> tuple[int | None, list[str]]:
    """Number of candidates, and assignments of the budget.

    If only a time is given, the number of candidates is the largest allowed, so that the time decides.
    """
    if trials is None and (hours is not None or gpu_hours is not None):
        trials = MAX_TRIALS
    fields = {"hours": hours, "gpu_hours": gpu_hours, "until": until}
    return trials, [f"budget.{name}={value}" for name, value in fields.items() if value is not None]


def tracked(names: list[str] | None, tensorboard: bool) -> tuple[str, ...]:
    """Trackers that the options name."""
    return (*(names or ()), *(("tensorboard",) if tensorboard else ()))
