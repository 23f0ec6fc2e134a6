"""
The one folding of texts: what counts as equal when case, width and composition do not.

Python computes the folded form and the database stores it, so that both databases compare and sort
alike, whatever their collation. No function here reads the database.
"""

from __future__ import annotations

from unicodedata import normalize

# Bytes of a key, as an entry of a PostgreSQL index must be shorter than 2,704 bytes. A title of 500
# characters is always shorter, except for a few characters that stand for whole phrases.
MAX_KEY_BYTES = 2_000


def fold(text: str) -> str:
    """Return the text without differences of case, width, composition and typographic form.

    `Straße` and `STRASSE`, `ﬁx` and `fix`, full-width and ordinary letters become equal. Accents
    stay. Folding a folded text changes nothing.
    """
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text).casefold())


def fold_key(text: str) -> str:
    """Return the folded text as an index stores it: cut after MAX_KEY_BYTES bytes of UTF-8.

    Two texts are equal without case if their keys are equal. Keys sort by code point.
    """
    if text.isascii():
        return text.lower()[:MAX_KEY_BYTES]
    return fold(text).encode()[:MAX_KEY_BYTES].decode(errors="ignore")
