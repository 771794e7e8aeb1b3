"""Classes of a data set: the chosen categories that the training split has boxes of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.config import DataError

SHOWN = 20
"""Names that a message lists."""


@dataclass(frozen=True)
class Classes:
    """Category ids that were chosen, and those of them that the training images have boxes of."""

    chosen: tuple[int, ...]
    trained: tuple[int, ...]


def chosen_categories(path: Path, categories: Mapping[int, str], names: Sequence[str] | None) -> tuple[int, ...]:
    """Ids of the categories with these names, in order; all of them without any names.

    Args:
        path: of the annotation file, for the message.
        categories: id -> name, as the file lists them.
        names: `DataConfig.categories`.

    Raises:
        DataError: for a name that is not there.
    """
    unknown = [name for name in names or () if name not in categories.values()]
    if unknown:
        raise DataError(
            f"data.categories names {_listed(unknown)}, but the categories of {path} are "
            f"{_listed(sorted(categories.values()))}"
        )
    return tuple(key for key in sorted(categories) if not names or categories[key] in names)


def difference(
    train: Mapping[int, str], classes: Collection[int], other: Mapping[int, str], extra: Collection[int]
) -> str | None:
    """How the categories of a split differ from those that are trained, as `alone has` of both; None if they do not.

    Args:
        train, other: id -> name, as the two files list them.
        classes: ids that are trained.
        extra: ids that the other split has boxes of, as far as they were chosen.
    """
    mine = {(key, train[key]) for key in classes} - set(other.items())
    theirs = {(key, name) for key, name in other.items() if key in extra} - set(train.items())
    if not mine and not theirs:
        return None
    return f"the first alone has {sorted(mine)[:SHOWN]} and the second alone has {sorted(theirs)[:SHOWN]}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name) for name in names[:SHOWN]) + more
