"""`nasfpn train`, `evaluate`, `predict`, `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.options import (
    ADDRESS,
    BatchSize,
    DetectorDir,
    Device,
    ImageSize,
    MaxPixels,
    Resize,
    TensorBoard,
    Track,
    TrainAssignments,
    ValueRange,
    reading_of,
    tracked,
)


def train(
    experiment: Annotated[str, typer.Argument(help="module:function or file.py:function that returns a TrainConfig.")],
    run_dir: Annotated[
        Path,
        typer.Option(help="The one directory that the training writes to; used again, it goes on."),
    ],
    neck: Annotated[
        str | None,
        typer.Option(
            help="A known neck, RUN_DIR (the best found), RUN_DIR:NUMBER (a trial), what nasfpn export wrote, or a "
            "genotype's JSON file."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes (GPUs, where there are any) that train.")] = None,
    set_: TrainAssignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    track: Track = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a detector in full; ends with one that nasfpn evaluate and nasfpn export take."""
    from nas.commands.train import train as run

    wishes = {"neck.name": neck, "epochs": epochs, "resources.processes": processes}
    assignments = [f"{name}={value}" for name, value in wishes.items() if value is not None]
    run(experiment, run_dir, [*(set_ or []), *assignments], address, tracked(track, tensorboard))


def evaluate(
    detector: DetectorDir,
    annotations: Annotated[Path, typer.Option(help="COCO instances file with the detector's categories.")],
    images: Annotated[Path, typer.Option(help="Folder that its file names are relative to.")],
    out: Annotated[Path | None, typer.Option(help="Directory to write; default DETECTOR_DIR/evaluation.")] = None,
    exit_: Annotated[
        int | None, typer.Option("--exit", metavar="R", help="Stop after R repeats (anytime detectors).")
    ] = None,
    exits: Annotated[bool, typer.Option("--exits", help="Score every exit: AP against multiply-adds.")] = False,
    size: ImageSize = None,
    batch_size: BatchSize = 8,
    resize: Resize = "letterbox",
    scorer: Annotated[str, typer.Option(help="pycocotools, or faster_coco_eval.")] = "pycocotools",
    device: Device = "auto",
    pictures: Annotated[int, typer.Option(help="Images to draw detections on; 0 for none.")] = 4,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Lowest score of the detections that are drawn.")
    ] = 0.3,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="File names may lead out of the image folder.")
    ] = False,
    value_range: ValueRange = None,
    max_pixels: MaxPixels = None,
) -> None:
    """COCO AP of a saved detector, in all and by class; detections in COCO's format; pictures of some.

    An image is taken as stored if that has the annotated size, else turned as its EXIF orientation says.
    """
    from nas.commands.evaluate import evaluate_detector

    evaluate_detector(
        detector,
        annotations,
        images,
        out=out,
        repeats=exit_,
        every_exit=exits,
        size=size,
        batch_size=batch_size,
        resize=resize,
        scorer=scorer,
        device=device,
        pictures=pictures,
        min_score=min_score,
        allow_outside=allow_outside,
        reading=reading_of(value_range, max_pixels),
    )


def predict(
    detector: DetectorDir,
    images: Annotated[list[Path], typer.Argument(help="Image files, and directories with images at any depth.")],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Lowest score of detections that count.")] = 0.3,
    size: ImageSize = None,
    batch_size: BatchSize = 8,
    resize: Resize = "letterbox",
    device: Device = "auto",
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw detections on images.")] = True,
    value_range: ValueRange = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Detections in images without annotations: a line per image, pictures, and JSON in COCO's formats.

    Images are turned as their EXIF orientation says. Exit status 1 if files could not be read.
    """
    from nas.commands.predict import predict_images

    predict_images(
        detector,
        images,
        out,
        min_score=min_score,
        size=size,
        batch_size=batch_size,
        resize=resize,
        device=device,
        pictures=pictures,
        reading=reading_of(value_range, max_pixels),
    )


def convert(
    state_dict: Annotated[Path, typer.Argument(metavar="STATE_DICT", help="A .pth, .pt or .safetensors file.")],
    source: Annotated[str, typer.Option(help="Where it comes from: mmdet, torchvision or effdet.")],
    annotations: Annotated[Path, typer.Option(help="COCO file whose categories it was trained on.")],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
    size: Annotated[int, typer.Option(help="Longer side of the images in pixels.")] = 1024,
    norm_eps: Annotated[
        float | None,
        typer.Option(help="Of its batch norms, default 1e-5; 0 for torchvision's first COCO weights."),
    ] = None,
    extra_relu: Annotated[
        bool, typer.Option("--extra-relu", help="The neck has mmdetection's relu_before_extra_convs.")
    ] = False,
) -> None:
    """Make a saved detector of a public RetinaNet's weights. Files are read without running what code they hold."""
    from nas.commands.convert import convert_detector

    convert_detector(state_dict, source, annotations, output, size=size, norm_eps=norm_eps, extra_relu=extra_relu)
