"""XML of other people, read so that it cannot do harm: no document types and so no entities."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from swath.datasets.formats.stated_objects import number
from swath.errors import DataError

_INVALID_TOKEN = 4  # expat's XML_ERROR_INVALID_TOKEN: bytes that are no text in the encoding that the file claims


def read_xml(path: Path) -> Element:
    """Read an XML file as `parse_xml` does its content."""
    return parse_xml(path.read_bytes(), path)


def parse_xml(content: bytes, path: object) -> Element:
    """Read the content of an XML file; bytes that are no UTF-8 are skipped, since published files hold some.

    Raises `DataError` for a file that is no XML, or one with a document type (`DOCTYPE`): entities declared in it could
    fill the memory or read other files.

    >>> parse_xml(b"<size><width>800</width></size>", "a.xml").findtext("width")
    '800'
    """
    try:
        try:
            return _parsed(content, path, None)
        except expat.ExpatError as error:
            if error.code != _INVALID_TOKEN:
                raise
            return _parsed(content.decode("utf-8", errors="ignore").encode(), path, "utf-8")
    except expat.ExpatError as error:
        raise DataError(f"{path} is no XML ({error}); get the file again.") from error


def child(element: Element, name: str, where: str) -> Element:
    """Return an element inside another; raise `DataError` where it is missing.

    >>> from xml.etree.ElementTree import fromstring
    >>> child(fromstring("<object><name>ship</name></object>"), "name", "a.xml").text
    'ship'
    """
    found = element.find(name)
    if found is None:
        raise DataError(f"{where} has no <{name}> in <{element.tag}>; mend the file.")
    return found


def words(element: Element, name: str, where: str) -> str:
    """Return the text of an element inside another; raise `DataError` where it is missing or empty."""
    text = (child(element, name, where).text or "").strip()
    if not text:
        raise DataError(f"{where} has an empty <{name}>; mend the file.")
    return text


def numbers(element: Element, names: tuple[str, ...], where: str) -> list[float]:
    """Return the numbers in elements inside another; raise `DataError` where one is missing or no number.

    >>> from xml.etree.ElementTree import fromstring
    >>> numbers(fromstring("<box><x>3</x><y>4.5</y></box>"), ("x", "y"), "a.xml")
    [3.0, 4.5]
    """
    return [number(child(element, name, where).text, f"<{name}> of {where}") for name in names]


def number_in(element: Element, name: str, where: str, otherwise: float) -> float:
    """Return the number in an element inside another, or `otherwise` where it is missing.

    >>> from xml.etree.ElementTree import fromstring
    >>> number_in(fromstring("<result/>"), "probability", "a.xml", 1.0)
    1.0
    """
    return otherwise if element.find(name) is None else numbers(element, (name,), where)[0]


def flag(element: Element, name: str) -> bool:
    """Return whether an element inside another holds a number above 0; one that is missing does not.

    >>> from xml.etree.ElementTree import fromstring
    >>> flag(fromstring("<object><difficult>1</difficult></object>"), "difficult")
    True
    """
    text = (element.findtext(name) or "").strip()
    return text.isdigit() and int(text) > 0


def _parsed(content: bytes, path: object, encoding: str | None) -> Element:
    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{path} declares a document type (DOCTYPE), which may hide entities; remove the declaration.")

    builder = TreeBuilder()
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(content, True)
    return builder.close()
