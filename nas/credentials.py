"""Credentials in URLs: the one place that takes them out of what is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from nas.errors import first_line

HIDDEN = "***"

_USER = re.compile(r"(://[^\s/:@]*):(?!:[a-z][a-z0-9+.-]*://)(.*)@", re.DOTALL | re.IGNORECASE)
"""`user:password@`. The password goes up to the last `@`, whatever it holds; after `::` comes a chain's next URL."""

_TOKEN = re.compile(r"(https?://)([^/?#:\s]+)@", re.IGNORECASE)
"""`token@`, as code hosts take it. Elsewhere a user without a password is no secret."""

_PARAMETER = re.compile(
    r"([?&;#][^=&?;#\s]*(?:passw(?:or)?d|passphrase|(?<![a-z])pass|pwd|token|secret|sig|signature|credentials?"
    r"|(?:access|account|api|private|secret|shared)[-_]?key(?:[-_]?id)?|(?<![a-z])auth|authorization|odbc_connect))=([^&]*)",
    re.DOTALL | re.IGNORECASE,
)
"""Parameters that are passwords, keys or signatures: of databases, object stores and signed URLs. A value goes up to
the next `&`."""

_RESERVED = set(":/?#[]@ ")
"""Characters that a password in a URL has to write in percent."""


def without_credentials(url: str) -> str:
    """A URL, or an argument with one in it, with `***` for passwords, keys and tokens.

    What could be a password is taken for one: of `ftp://host:21/a@b` only `ftp://host:***@b` is left.
    """
    user, rest = _up_to_last_at(url)
    url = _USER.sub(rf"\1:{HIDDEN}@", user) + rest
    url = _TOKEN.sub(rf"\1{HIDDEN}@", url)
    return _PARAMETER.sub(rf"\1={HIDDEN}", url)


def has_credentials(url: str) -> bool:
    return any(secret != HIDDEN for secret in _secrets(url))


def without_credentials_in(value: Any) -> Any:
    """Plain JSON data with every string as by `without_credentials`."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {key: without_credentials_in(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_credentials_in(entry) for entry in value]
    return value


def scrubbed(text: str) -> str:
    """Text with every URL in it, up to the next space, as by `without_credentials`."""
    if "://" not in text:
        return text
    return re.sub(r"\S+", lambda found: without_credentials(found[0]) if "://" in found[0] else found[0], text)


def reason(error: BaseException, url: str) -> str:
    """The first line of an error about a URL, without the credentials of that URL.

    Libraries that take such a URL apart may put any part of a password with reserved characters into their messages; of
    these errors only the class is told.
    """
    secrets = set(_secrets(url))
    if any(_RESERVED & set(secret) for secret in secrets):
        return f"{type(error).__name__}; in passwords write / as %2F, @ as %40, : as %3A, ? as %3F and # as %23"
    text = scrubbed(first_line(error))
    for secret in sorted(secrets | {unquote(secret) for secret in secrets}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets(url: str) -> Iterator[str]:
    for pattern, text in ((_USER, _up_to_last_at(url)[0]), (_TOKEN, url), (_PARAMETER, url)):
        yield from (found[2] for found in pattern.finditer(text) if found[2])


def _up_to_last_at(url: str) -> tuple[str, str]:
    """So that a long text without a password takes no longer than one with it."""
    end = url.rfind("@") + 1
    return url[:end], url[end:]
