"""Reading the XML that scanners leave in tags, with namespaces dropped and entity bombs refused."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CHARS = 2**26


def parse(text: str | bytes | None) -> Element | None:
    """Return the root with plain tag names; None where this is no well-formed XML or defines entities of its own."""
    if not text or len(text) > MAX_CHARS:
        return None
    raw = text if isinstance(text, bytes) else text.encode()
    start = raw.find(b"<")
    if start < 0 or b"<!ENTITY" in raw:
        return None
    try:
        root = ElementTree.fromstring(raw[start:].rstrip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError):
        return None
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition("}")[2]
    return root
