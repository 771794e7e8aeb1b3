"""Class and arguments of a neck as a file has them, checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from necks.contract import Neck
from necks.modules import KINDS
from search_space import MAX_CHANNELS
from search_space.bounds import shown
from search_space.references import is_reference, load_object

MAX_NUMBER = 2**8
"""Largest value of every number that counts no channels (repeats, levels, TUMs): more would take minutes to build."""


def class_of(kind: Any) -> type[Neck]:
    """
    Raises:
        ValueError: for what is no kind of neck, and for a class by reference that cannot be loaded or is not trusted.
    """
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    if not is_reference(kind):
        raise ValueError(f"unknown kind of neck {shown(kind)}; this version knows {', '.join(KINDS)}")
    cls = load_object(kind)
    if not (isinstance(cls, type) and issubclass(cls, Neck)):
        raise ValueError(f"the kind of neck {kind} is not a subclass of necks.Neck")
    return cls


def check_arguments(cls: type[Neck], kind: str, arguments: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: for an argument of another type than the constructor names, or a number beyond the bounds here.
    """
    hints = get_type_hints(cls.__init__)
    for name in arguments.keys() & hints.keys():
        value = arguments[name]
        most = MAX_CHANNELS if name.endswith(("channels", "expanded")) else MAX_NUMBER
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} of a neck of kind {kind!r} cannot be {shown(value)}")
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(type(number) is int and not 0 <= number <= most for number in numbers):
            raise ValueError(f"{name} of a neck of kind {kind!r} must be in 0..{most}, got {shown(value)}")


def widths_in(arguments: Mapping[str, Any]) -> list[Any]:
    values = (arguments.get(name, ()) for name in ("in_channels", "out_channels", "expanded"))
    return [width for value in values for width in (value if isinstance(value, list | tuple) else [value])]


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is Sequence:
        return isinstance(value, list | tuple) and all(type(entry) is int for entry in value)
    return type(value) is int if hint is int else isinstance(value, hint)
