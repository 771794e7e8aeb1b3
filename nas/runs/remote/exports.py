"""Exported necks and saved detectors at URLs, as copies on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.detection.saved import DETECTOR_FILE
from nas.detection.saved import WEIGHTS_FILE as DETECTOR_WEIGHTS_FILE
from nas.runs.remote.files import Remote, is_url, reachable
from necks.downloads import download
from necks.exported import GENOTYPE_FILE, NECK_FILE, WEIGHTS_FILE

NECK_FILES = (NECK_FILE, WEIGHTS_FILE, GENOTYPE_FILE)
DETECTOR_FILES = (DETECTOR_FILE, DETECTOR_WEIGHTS_FILE)
TOPOLOGY_FILES = (NECK_FILE, GENOTYPE_FILE)


def local_export(place: str, names: Sequence[str]) -> Path:
    """A path as it is; for a URL a directory in the user's cache with the files of these names that are there.

    For the URL of a JSON file it is a copy of that file.

    Raises:
        RemoteError: if the URL cannot be used.
    """
    if not is_url(place):
        return Path(place)
    Remote(place)
    parent, _, name = place.rpartition("/")
    with reachable(place):
        if name.endswith(".json"):
            return download(parent, [name]) / name
        return download(place, names)
