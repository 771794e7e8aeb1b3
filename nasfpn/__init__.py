"""The runs of `experiments` under a name that no project of a user has: `nasfpn.signs:search`, `nasfpn.coco:nas_fpn`.

A project's own package `experiments` cannot hide them here.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parent.parent / "experiments")]
