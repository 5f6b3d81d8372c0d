"""Equations as MathML, made while the book is built: browsers draw them by themselves, with no script and nothing from elsewhere."""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MATHS = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)


def on_page_content(content: str, page: "object", config: "object", files: "object") -> str:
    """Draw a page's equations (an event of MkDocs)."""
    return MATHS.sub(lambda found: drawn(html.unescape(found["latex"]), found["tag"] == "div"), content)


def drawn(latex: str, is_block: bool) -> str:
    """Return an equation as MathML.

    Raises:
        PluginError: where it holds a word that is not known.
    """
    aligned = latex.strip().replace("{aligned}", "{align*}")  # the name that the converter knows
    mathml = convert(aligned, display="block" if is_block else "inline")
    if re.search(r"[\\&]", html.unescape(re.sub(r"<[^>]*>", "", mathml))):
        raise PluginError(f"cannot be drawn: {latex}")
    return f'<div class="equation">{mathml}</div>' if is_block else mathml
