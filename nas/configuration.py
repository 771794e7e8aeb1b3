"""Configurations to and from plain data, with errors that name the field and what is allowed."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from nas.credentials import without_credentials
from nas.errors import UserError
from search_space.bounds import shown

Config = TypeVar("Config")

MAX_PROBLEMS, MAX_LENGTH = 8, 400
"""Problems of a configuration that are listed, and characters of each."""


class ConfigError(UserError):
    """A configuration that cannot be used; one line per problem."""


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON data of a configuration dataclass."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def from_dict(cls: type[Config], data: Mapping[str, Any]) -> Config:
    """A configuration from what `to_dict` gave.

    Raises:
        ConfigError: for unknown fields, with the nearest known one, and for values that are not allowed.
    """
    try:
        if not isinstance(data, Mapping):
            raise ConfigError(f"a configuration is a mapping of fields, got {data!r:.80}")
        return TypeAdapter(cls).validate_python(dict(data))
    except ValidationError as error:
        raise ConfigError(explained(cls, error)) from error


def override(config: Config, assignments: Iterable[str]) -> Config:
    """`config` with fields replaced, each given as `path.to.field=value`; values are JSON, or else text. Texts in a
    list need no quotation marks: `known=[fpn,bifpn]`.

    Raises:
        ConfigError: for an assignment without `=`, an unknown field, or a value that is not allowed.
    """
    data = to_dict(config)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"write --set field=value, got {without_credentials(assignment)!r}")
        _assign(type(config), data, path.strip().split("."), _value(text))
    return from_dict(type(config), data)


def differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Fields in which two plain configurations differ, as `path: first -> second`."""
    found = []
    for name in sorted({*first, *second}):
        a, b = first.get(name), second.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {json.dumps(a)} -> {json.dumps(b)}")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(cls: type, data: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, name = path
    here: Any = data
    for depth, parent in enumerate(parents):
        if not isinstance(here, dict) or parent not in here:
            raise ConfigError(_unknown(cls, path[: depth + 1], here))
        here = here[parent]
    if not isinstance(here, dict) or (name not in here and _fields_at(cls, parents)):
        raise ConfigError(_unknown(cls, path, here))
    here[name] = _items(value) if isinstance(here.get(name), list) else value


def _items(value: Any) -> Any:
    """A list whose texts were given without quotation marks; anything else as it is."""
    if not (isinstance(value, str) and value.startswith("[") and value.endswith("]")):
        return value
    return [_value(item.strip()) for item in value[1:-1].split(",")]


def _unknown(cls: type, path: list[str], here: Any) -> str:
    where = ".".join(path)
    if not isinstance(here, Mapping):
        return f"unknown field {where!r}: {'.'.join(path[:-1])} is {json.dumps(here)} and has no fields to set"
    return f"unknown field {where!r}{nearest(path[-1], list(here))}"


def nearest(name: str, known: list[str]) -> str:
    """Hint for an unknown name: the nearest known one, and all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (known here: {', '.join(known)})" if known else hint


def explained(cls: type | None, error: ValidationError) -> str:
    """All problems in one line; of very many, or very long ones, the beginning."""
    found = error.errors()
    lines = [" ".join(_explain(cls, problem).split()) for problem in found[:MAX_PROBLEMS]]
    short = [line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}..." for line in lines]
    return "; ".join([*short, *([f"and {len(found) - MAX_PROBLEMS} more"] if len(found) > MAX_PROBLEMS else [])])


def _explain(cls: type | None, problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path)
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown field {where!r}{nearest(path[-1], _fields_at(cls, path[:-1]) if cls else [])}"
    message = _plain_message(cls, path, problem)
    got = "" if problem["type"] == "value_error" else f", got {shown(problem['input'])}"
    return f"{where}: {message}{got}" if where else f"{message}{got}"


def _plain_message(cls: type | None, path: list[str], problem: Any) -> str:
    """Message on what a value must be, in the words of `--set`."""
    kind = problem["type"]
    if kind in ("dataclass_type", "dataclass_exact_type"):
        fields = _fields_at(cls, path) if cls else []
        ways = ", ".join(f"{'.'.join([*path, field])}" for field in fields)
        return f"is a group of fields, to be set one by one ({ways})" if ways else "is a group of fields"
    if kind in ("tuple_type", "list_type"):
        return "must be a list, such as [a,b]"
    if kind == "dict_type":
        return 'must be fields and values in JSON, such as {"a": 1}'
    return str(problem["msg"]).removeprefix("Value error, ")


def _fields_at(cls: Any, path: list[str]) -> list[str]:
    """Names of the fields of the dataclass at a path; none where there is no dataclass."""
    for name in path:
        hint = get_type_hints(cls).get(name)
        cls = next((kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)), None)
        if cls is None:
            return []
    return [field.name for field in dataclasses.fields(cls)]
