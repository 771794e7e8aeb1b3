"""Weights of public implementations, loaded into our necks."""

from necks.reference.load import SOURCES, load_reference
from necks.reference.names import WeightsError
from necks.reference.save import reference_state

__all__ = ["SOURCES", "WeightsError", "load_reference", "reference_state"]
