"""Weights of public implementations, loaded into our necks."""

from necks.reference.load import SOURCES, load_reference, reference_state
from necks.reference.names import WeightsError

__all__ = ["SOURCES", "WeightsError", "load_reference", "reference_state"]
