"""The model card: what was exported, what it costs, how it was made, and how its files are used."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.detection.cost import Cost, detector_cost, neck_cost
from nas.drawing.architecture import architecture
from nas.export.files import CARD_FILE, PICTURE_FILE
from nas.export.formats import Written
from nas.export.markdown import table_row
from nas.export.sources import Source
from nas.export.suppression import SUPPRESSING_FILE
from necks import MergeNeck, Neck
from necks.exported import GENOTYPE_FILE
from search_space import Genotype

USUAL_SIZE = 640
PURPOSES = {
    "neck.py": "the neck as one file that needs torch alone",
    "weights.pt": "its weights, also those of `mmdet_neck.py`",
    "neck.onnx": "the neck, any number of images of any size",
    "neck.pt2": "the neck traced by torch.export, maps by position, any size",
    "detector.onnx": "images to logits and boxes, any number of images of any size; without suppression",
    "detector_nms.onnx": "images to detections, any number of images of any size; with suppression",
    "detector.pt2": "images to logits and boxes traced by torch.export",
    "mmdet_neck.py": "the neck registered in mmdetection as `FoundNeck`",
    "mmdet_weights.pt": "weights under the names of mmdetection's own class",
    "torchvision_example.py": "the neck in torchvision's RetinaNet",
}


def write_card(source: Source, written: Sequence[Written], directory: Path) -> None:
    """Write `README.md` and, for a merge graph, its picture."""
    sections = [_front_matter(source.detector is not None) + _head(source), _usage(source, directory.name)]
    if isinstance(source.neck, MergeNeck):
        sections += _drawn(source.neck.genotype, directory)
    sections += [_facts(source)]
    if written:
        sections += [_files(written)]
    if any(file.path.stem == "detector" for file in written):
        sections += [DETECTOR_USE]
    if any(file.path.name == SUPPRESSING_FILE for file in written):
        sections += [SUPPRESSING_USE]
    (directory / CARD_FILE).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def write_topology(genotype: Genotype, origin: str, facts: Mapping[str, str], directory: Path) -> None:
    """Write a topology without weights: `genotype.json`, its picture, and a card that says how to build it.

    Args:
        origin, facts: as those of a `Source`.
    """
    (directory / GENOTYPE_FILE).write_text(genotype.to_json() + "\n", encoding="utf-8")
    head = f"# A topology, exported by nas-fpn\n\n{origin}, fingerprint `{genotype.fingerprint}`. It has no weights."
    sections = [
        _front_matter(False) + head + _topology(_literal(directory.name)),
        *_drawn(genotype, directory),
        _table(facts),
    ]
    (directory / CARD_FILE).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _front_matter(is_detector: bool) -> str:
    """Fields by which Hugging Face sorts and shows models; the license is the user's to choose."""
    tags = ["nas-fpn", "feature-pyramid", "neural-architecture-search", "object-detection"]
    lines = ["library_name: nas-fpn", *(["pipeline_tag: object-detection"] if is_detector else []), "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "# license: yours to choose", "---", "", ""])


def _head(source: Source) -> str:
    neck = source.neck
    fingerprint = f", fingerprint `{neck.genotype.fingerprint}`" if isinstance(neck, MergeNeck) else ""
    what = "A feature-pyramid neck" if source.detector is None else "A detector"
    return f"""# {what}, exported by nas-fpn

{source.origin}{fingerprint}. The neck takes maps of levels {list(neck.in_levels)} with {list(neck.in_channels)}
channels, gives levels {list(neck.out_levels)} with {neck.out_channels} channels."""


def _usage(source: Source, directory: str) -> str:
    name = _literal(directory)
    if source.detector is not None:
        kind = "RetinaNet" if source.retinanet is not None else "Faster R-CNN, whose labels run from 1"
        return f"""```python
from pathlib import Path
from nas.detection.saved import load_detector

detector, about = load_detector(Path({name}))  # torchvision's {kind}, evaluation mode
```"""
    maps = ", ".join(f'"c{level}": c{level}' for level in source.neck.in_levels)
    text = f"""```python
import necks

neck = necks.load_exported({name})  # torch.nn.Module, evaluation mode, with its weights
pyramid = neck({{{maps}}})  # ordered dict in, ordered dict p3.. out, fine to coarse
```"""
    return text + _topology(name) if isinstance(source.neck, MergeNeck) else text


def _topology(name: str) -> str:
    return f"""

The same topology for another backbone, with fresh weights:

```python
from pathlib import Path
import necks
from search_space import Genotype

genotype = Genotype.from_json((Path({name}) / "{GENOTYPE_FILE}").read_text())
neck = necks.build_neck(genotype, in_channels=[512, 1024, 2048], out_channels=256, repeats=7)
```"""


def _literal(name: str) -> str:
    """A string of Python."""
    return json.dumps(name, ensure_ascii=not name.isprintable())


def _drawn(genotype: Genotype, directory: Path) -> list[str]:
    """Draw a topology into a file; the sections that show it."""
    architecture(genotype).savefig(directory / PICTURE_FILE, metadata={"Date": None})
    return [f"![architecture]({PICTURE_FILE})", cell_table(genotype)]


def cell_table(genotype: Genotype) -> str:
    first = len(genotype.levels)
    lines = ["| node | level | merge | of nodes | dangling adds |", "|---|---|---|---|---|"]
    for index, cell in enumerate(genotype.cells):
        extra = ", ".join(map(str, genotype.dangling[index])) or "-"
        inputs = ", ".join(map(str, cell.inputs))
        lines.append(f"| {first + index} | P{cell.level} | {cell.merge} | {inputs} | {extra} |")
    return "\n".join(lines)


def _facts(source: Source) -> str:
    size = source.spec.image_size if source.spec else USUAL_SIZE
    rows = {f"neck, one image of {size} x {size} px": _cost(_neck_cost(source.neck, size))}
    if source.detector is not None:
        rows["backbone, neck and head"] = _cost(detector_cost(source.detector, (size, size)))
    return _table({**rows, **source.facts})


def _table(rows: Mapping[str, str]) -> str:
    lines = [table_row(name, text) for name, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _neck_cost(neck: Neck, size: int) -> Cost:
    shapes = zip(neck.in_levels, neck.in_channels, strict=True)
    return neck_cost(
        neck,
        OrderedDict((f"c{level}", (width, -(-size // 2**level), -(-size // 2**level))) for level, width in shapes),
    )


def _cost(cost: Cost) -> str:
    return f"{cost.params / 1e6:,.3f} M parameters, {cost.macs / 1e9:,.3f} G multiply-adds"


def _files(written: Sequence[Written]) -> str:
    lines = ["| file | | largest difference to the trained module, three image sizes |", "|---|---|---|"]
    for file in written:
        difference = "" if file.difference is None else f"{file.difference:.0e}"
        lines.append(f"| `{file.path.name}` | {PURPOSES[file.path.name]} | {difference} |")
    return "\n".join(lines)


DETECTOR_USE = """The traced detector takes `images` (N, 3, H, W) in 0..1, scaled and padded to sides that are multiples
of 32. It gives `logits` (N, A, classes), whose sigmoids are the scores, `offsets` (N, A, 4), and `boxes` (N, A, 4),
x1 y1 x2 y2 in pixels of these images. Choosing the surest, clipping to the image and suppressing duplicates per class
(torchvision's `batched_nms`) is left to the caller."""

SUPPRESSING_USE = f"""`{SUPPRESSING_FILE}` takes the same `images`. It gives `boxes` (N, D, 4), x1 y1 x2 y2 in pixels of
these images, `scores` (N, D), best first, `labels` (N, D), places of the classes in `detector.json`, and `count` (N):
so many of each image's D are detections, the first ones. Thresholds are the detector's own."""
