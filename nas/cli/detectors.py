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
        typer.Option(help="Directory that the training writes to; given again, the training continues."),
    ],
    neck: Annotated[
        str | None,
        typer.Option(
            help="Neck: a known neck's name, RUN_DIR (the best found), RUN_DIR:NUMBER (a trial), an export, "
            "or a genotype's JSON file."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Number of processes that train, one per GPU if there are GPUs.")
    ] = None,
    set_: TrainAssignments = None,
    address: Annotated[str | None, typer.Option(help=ADDRESS)] = None,
    track: Track = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a detector in full; saves it for nasfpn evaluate, predict and export."""
    from nas.commands.train import train as run

    wishes = {"neck.name": neck, "epochs": epochs, "resources.processes": processes}
    assignments = [f"{name}={value}" for name, value in wishes.items() if value is not None]
    run(experiment, run_dir, [*(set_ or []), *assignments], address, tracked(track, tensorboard))


def evaluate(
    detector: DetectorDir,
    annotations: Annotated[Path, typer.Option(help="COCO instances file of the images.")],
    images: Annotated[
        Path, typer.Option(help="Folder of the images; file names in the annotations are relative to it.")
    ],
    out: Annotated[Path | None, typer.Option(help="Directory to write; default: DETECTOR_DIR/evaluation.")] = None,
    exit_: Annotated[
        int | None, typer.Option("--exit", metavar="R", help="Stop after R repeats of the neck (anytime detectors).")
    ] = None,
    exits: Annotated[bool, typer.Option("--exits", help="Score every exit: AP against multiply-adds.")] = False,
    size: ImageSize = None,
    batch_size: BatchSize = 8,
    resize: Resize = "letterbox",
    scorer: Annotated[
        str, typer.Option(help="Package that computes AP: pycocotools or faster_coco_eval.")
    ] = "pycocotools",
    device: Device = "auto",
    pictures: Annotated[int, typer.Option(help="Number of images to draw detections on; 0 for none.")] = 4,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Lowest score of a detection that is drawn.")
    ] = 0.3,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Allow file names that lead out of the image folder.")
    ] = False,
    value_range: ValueRange = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Measure the COCO AP of a saved detector, overall and per class; write detections and some pictures.

    An image is read as stored if its size is the annotated one, and rotated by its EXIF orientation otherwise.
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
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Lowest score of a detection that is kept.")] = 0.3,
    size: ImageSize = None,
    batch_size: BatchSize = 8,
    resize: Resize = "letterbox",
    device: Device = "auto",
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw the detections on the images.")
    ] = True,
    value_range: ValueRange = None,
    max_pixels: MaxPixels = None,
) -> None:
    """Detect objects in images without annotations; writes pictures, and JSON files in COCO's formats.

    Images are rotated by their EXIF orientation. Exit status 1 if files could not be read.
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
    source: Annotated[str, typer.Option(help="Origin of the weights: mmdet, torchvision or effdet.")],
    annotations: Annotated[Path, typer.Option(help="COCO file with the categories that the detector was trained on.")],
    output: Annotated[Path, typer.Option(help="Directory to write; new or empty.")],
    size: Annotated[int, typer.Option(help="Longer side of the images in pixels.")] = 1024,
    norm_eps: Annotated[
        float | None,
        typer.Option(help="Epsilon of the batch norms; default: 1e-5. 0 for torchvision's first COCO weights."),
    ] = None,
    extra_relu: Annotated[
        bool, typer.Option("--extra-relu", help="The neck has mmdetection's relu_before_extra_convs.")
    ] = False,
) -> None:
    """Convert the weights of a public RetinaNet to a saved detector. Code in the file is never run."""
    from nas.commands.convert import convert_detector

    convert_detector(state_dict, source, annotations, output, size=size, norm_eps=norm_eps, extra_relu=extra_relu)
