"""Settings of Sphinx: pages in Markdown by MyST, the API from docstrings, the theme furo."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

project = "nas-fpn"
html_title = project
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["pictures"]

html_theme = "furo"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

smartquotes_action = "qe"  # no dashes: `--` is part of options
default_role = "code"  # `name` in a docstring, as in Markdown
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Float": "float", "Int": "int", "Options": "dict[str, Any]"}
maximum_signature_line_length = 80
python_display_short_literal_types = True
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"


def link_to_files(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Links to files outside of `docs` as MyST's downloads; in the pages they are plain paths."""
    source[0] = source[0].replace("](../experiments/", "](path:../experiments/")


def google_style(_app: Sphinx, what: str, name: str, _object: object, _options: Any, lines: list[str]) -> None:
    """Sections `Args`, `Returns`, `Raises` as fields. Fields and properties have none.

    The extension napoleon takes what stands before a colon in those for their type.
    """
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, what=what, name=name).lines()


def readable_signature(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Signatures of dataclasses as Python that Sphinx can parse and break into lines: a default made anew is `...`."""
    if arguments:
        arguments = re.sub(r"~(?:\w+\.)+", "", arguments.replace("<factory>", "..."))
    return arguments, returned


def readable_fields(_app: Sphinx, page: nodes.document) -> None:
    """Fields and arguments without pydantic's marks: plain types, no record of a default that is made anew."""
    for signature in page.findall(addnodes.desc_signature):
        for text in list(signature.findall(nodes.Text)):
            if text in autodoc_type_aliases:
                text.parent.replace(text, nodes.Text(autodoc_type_aliases[text]))
        for value in list(signature.findall(addnodes.desc_annotation)):
            if "FieldInfo(" in value.astext():
                signature.remove(value)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", google_style)
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("doctree-read", readable_fields)
    app.connect("source-read", link_to_files)
    return {"parallel_read_safe": True}
