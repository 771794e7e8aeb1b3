"""Figures as SVG elements for a page whose Content-Security-Policy allows no inline styles."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

FILLED_BLACK = "#000001"
"""Black for fills: matplotlib leaves out a fill that is black."""
BLACK = ("#000000", "black", FILLED_BLACK)
LEFT_OUT = ("metadata", "style")
"""Elements: links to vocabularies, and a style that the page has for all figures."""


def inline_svg(figure: Figure) -> Markup:
    """The figure as an `svg` element in the colours of the page: what is black there takes the colour of the text.

    Styles become attributes. What matplotlib writes beside elements and text, comments among it, is left out.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _tidy(root)
    root.set("role", "img")
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _tidy(element: ElementTree.Element) -> None:
    """HTML has no namespaces: names lose them."""
    element.tag = _local(element.tag)
    attributes = {_local(name): value for name, value in element.items()}
    attributes |= dict(_declarations(attributes.pop("style", "")))
    if element.tag == "text":
        attributes.setdefault("fill", "currentColor")
    element.attrib.clear()
    element.attrib.update({name: "currentColor" if value in BLACK else value for name, value in attributes.items()})
    for child in list(element):
        if _local(child.tag) in LEFT_OUT:
            element.remove(child)
        else:
            _tidy(child)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    """Properties that are attributes of SVG as well; `font`, which is none, as its parts."""
    for declaration in filter(None, (part.strip() for part in style.split(";"))):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name != "font":
            yield name, value
        elif found := re.fullmatch(r"(?:.* )?([\d.]+px) (.+)", value):
            yield "font-size", found[1]
            yield "font-family", found[2]
