"""A chapter's bytes as text: by its mark, by the encoding that its first lines declare, or as UTF-8."""

import codecs
import io
import tokenize

from vitcourse.classroom.reading import UnreadableError

_MARKS: tuple[tuple[bytes, str], ...] = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)
_REFUSED = ("punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape")  # these are slow, or no encodings


def decoded(content: bytes) -> str:
    """The text, with lines that end as Python's do. Raises UnreadableError, which says where and what to do."""
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableError(
            f"can't be read: line {line} holds a byte that is no {encoding}; save the file as UTF-8"
        ) from error
    except (LookupError, ValueError) as error:
        raise UnreadableError(f"can't be read: {encoding} is no encoding of texts") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    lines = io.BytesIO(content[:4096].replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    try:
        name = tokenize.detect_encoding(lines.readline)[0]
    except SyntaxError as error:
        if "unknown encoding" in str(error):
            raise UnreadableError(f"can't be read: {error}; save the file as UTF-8") from error
        return "utf-8"  # the bad byte is in its first lines: decoding says where
    if codecs.lookup(name).name.replace("-", "_") in _REFUSED:
        raise UnreadableError(f"can't be read: {name} is no encoding of texts")
    return name
