"""The file of an import between two requests: compressed, in a hidden field of the page.

Nothing is stored on the server before the import, so a page that is closed leaves nothing behind.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from django.conf import settings
from django.utils.translation import gettext as _

from taskflow.http.errors import Invalid
from tasks.csv.reading import decode_file

CHARSETS = (None, "windows-1252")  # that are tried for a file


def pack(text: str) -> str:
    """Return the text compressed, as characters that a form does not change."""
    return b64encode(zlib.compress(text.encode())).decode()


def unpack(packed: str) -> str:
    """Return the text of pack(). Raises Invalid for anything else, and for too long a text."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(
            b64decode(packed, validate=True), settings.MAX_FILE_BYTES + 1
        )
        text = content.decode()
    except (Base64Error, zlib.error, ValueError):
        raise Invalid(_("The file cannot be read any more. Choose it again.")) from None
    if len(content) > settings.MAX_FILE_BYTES or not decompressor.eof or "\0" in text:
        raise Invalid(_("The file cannot be read any more. Choose it again."))
    return text


def read_upload(content: bytes) -> str:
    """Return the text of a file. A file that is not UTF-8 or UTF-16 is read as Windows-1252.

    Raises Invalid for a file that is none of these, or too large.
    """
    if len(content) > settings.MAX_FILE_BYTES:
        raise Invalid(_("The file has more than 4 MiB. Split it, and import the parts."))
    for charset in CHARSETS:
        try:
            return decode_file(content, charset)
        except Invalid:
            continue
    raise Invalid(_("This is no text file. Save it as CSV in UTF-8, and choose it again."))
