"""Reading the XML that scanners leave in tags, with namespaces dropped and entity bombs refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CHARS = 2**26


def parse(text: str | bytes | None) -> Element | None:
    """Return the root with plain tag names; None where this is no well-formed XML or defines entities of its own."""
    if not text or len(text) > MAX_CHARS:
        return None
    # Text stays text: QPTIFF declares UTF-16 in what is stored as UTF-8, and the parser would believe it.
    whole = text.strip(b"\0 \r\n\t") if isinstance(text, bytes) else text.strip("\0 \r\n\t\ufeff")
    marks: tuple[Any, Any] = (b"<", b"<!ENTITY") if isinstance(whole, bytes) else ("<", "<!ENTITY")
    start = whole.find(marks[0])
    if start < 0 or marks[1] in whole:
        return None
    try:
        root = ElementTree.fromstring(whole[start:])
    except (ElementTree.ParseError, ValueError):
        return None
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition("}")[2]
    return root
