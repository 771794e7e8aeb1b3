"""Weights of public implementations, loaded into our necks."""

from necks.reference.load import SOURCES, load_reference
from necks.reference.names import ReferenceError

__all__ = ["SOURCES", "ReferenceError", "load_reference"]
