"""
The one folding of texts, the words in which they are searched, and what a text of one line is.

Python computes both and the database stores them, so that both databases compare, sort and search
alike, whatever their collation and their rules for words. No function here reads the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple
from unicodedata import category, combining, normalize

# Bytes of a key, as an entry of a PostgreSQL index must be shorter than 2,704 bytes. A title of 500
# characters is always shorter, except for a few characters that stand for whole phrases.
MAX_KEY_BYTES = 2_000
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Tai, Japanese and Chinese.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
# A word, after every character that belongs to no word became a space. A longer one is divided,
# because PostgreSQL stores words of at most 2,046 bytes.
# Finds most texts without a long run of marks ten times faster than the pattern of marks does. The
# two marks that Python takes for letters, of half-width katakana, are named.
NO_LETTERS = re.compile(r"[\W\uff9e\uff9f]{33,}")
WORD = re.compile(rf"[{UNSPACED}]|[^\s+#{UNSPACED}]{{1,500}}[+#]{{0,20}}")


def fold(text: str) -> str:
    """Return the text without differences of case, width, composition and typographic form.

    `Straße` and `STRASSE`, `ﬁx` and `fix`, full-width and ordinary letters become equal. Accents
    stay. Folding a folded text changes nothing.
    """
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", _order_marks(text)).casefold())


def _order_marks(text: str) -> str:
    """Return an equivalent text in which long runs of combining marks stand in canonical order.

    normalize() sorts the marks of a letter in a time that grows with the square of their number: 6
    seconds for 64,000 marks. It needs no time for marks that are in order already.
    """
    return NO_LETTERS.sub(lambda run: _long_run().sub(_sort_marks, run[0]), text)


def _sort_marks(run: re.Match[str]) -> str:
    decomposed = "".join([normalize("NFKD", character) for character in run[0]])
    return "".join(sorted(decomposed, key=combining))


@cache
def _long_run() -> re.Pattern[str]:
    """Return the pattern of 33 or more characters of whose decomposition the first is a mark."""
    characters = map(chr, range(0x300, 0x20000))
    marks = [c for c in characters if combining(normalize("NFKD", c)[0])]
    return re.compile(f"[{''.join(marks)}]{{33,}}")


def fold_key(text: str) -> str:
    """Return the folded text as an index stores it: cut after MAX_KEY_BYTES bytes of UTF-8.

    Two texts are equal without case if their keys are equal. Keys sort by code point.
    """
    if text.isascii():
        return text.lower()[:MAX_KEY_BYTES]
    return fold(text).encode()[:MAX_KEY_BYTES].decode(errors="ignore")


# ---- texts of one line --------------------------------------------------------------------------

LINE_BREAKING = frozenset({"Cc", "Zl", "Zp"})  # Unicode categories: controls, line separators
INVISIBLE = frozenset({"Cf", "Zs"}) | LINE_BREAKING
# Fillers, blank letters and variation selectors, which other categories contain.
BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


def is_one_line(text: str) -> bool:
    """Return whether a text has neither line breaks nor control characters. A tab is one."""
    return text.isprintable() or not any(category(c) in LINE_BREAKING for c in text)


def is_visible(text: str) -> bool:
    """Return whether a text has a character that people can see."""
    return any(category(c) not in INVISIBLE and c not in BLANKS for c in text)


# ---- search -------------------------------------------------------------------------------------


class Word(NamedTuple):
    """A word of a text, and where it stands in the text as it was written."""

    text: str
    start: int
    end: int


class _Separators(dict[int, int]):
    """For str.translate(): a space for every character that is no letter, mark, digit, + or #."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        is_in_word = category(character)[0] in "LMN" or character in "+#"
        self[code] = code if is_in_word else ord(" ")
        return self[code]


SEPARATORS = _Separators()


def search_fold(text: str) -> str:
    """Return the folded text without accents, in which texts are searched.

    Hebrew and Arabic points go, too. Marks that make another letter stay, such as the dakuten, the
    virama and the vowels of Thai; so does a mark that stands alone.
    """
    if text.isascii():
        return text.lower()
    decomposed = normalize("NFKD", fold(text))
    if _lone_accent().search(decomposed):
        return normalize("NFC", _accent_of_character().sub("", decomposed))
    return normalize("NFC", decomposed.translate(_accents()))  # thirty times faster


@cache
def _accents() -> dict[int, None]:
    """Return all accents, for str.translate(). They are below U+1E94B."""
    # Combining classes: 10 to 35 are points of letters, 200 and above are accents by position.
    classes = ((code, combining(chr(code))) for code in range(0x300, 0x1E94B))
    return {code: None for code, number in classes if 10 <= number < 36 or number >= 200}


@cache
def _lone_accent() -> re.Pattern[str]:
    return re.compile(rf"(?:\A|\s)[{''.join(map(chr, _accents()))}]")


@cache
def _accent_of_character() -> re.Pattern[str]:
    return re.compile(rf"(?<=\S)[{''.join(map(chr, _accents()))}]+")


def search_words(text: str) -> list[str]:
    """Return the words of a text in their order, folded and without accents.

    A word is a run of letters, marks and digits with the + and # that follow it, as in C++. In
    scripts without spaces every character is a word.
    """
    return WORD.findall(search_fold(text).translate(SEPARATORS))


def split_for_search(text: str) -> tuple[list[str], list[str]]:
    """Return the words of a text, and those parts between white space that contain other signs.

    `x-1, b c` has the words x, 1, b and c, and the part `x-1,`.
    """
    folded = search_fold(text)
    words = WORD.findall(folded.translate(SEPARATORS))
    parts = folded.split()
    if "".join(words) == "".join(parts):
        return words, []
    known = set(words)
    return words, [part for part in dict.fromkeys(parts) if part not in known and _has_sign(part)]


def _has_sign(part: str) -> bool:
    return len("".join(WORD.findall(part.translate(SEPARATORS)))) < len(part)


def search_text(text: str) -> str:
    """Return what the database stores to search a text.

    First its words, each between two spaces: ` x 1 b c `, which the index contains. Then, after a
    line break, the parts with other signs in the same form. A phrase, and a sign, can be found in
    it as a part of the string.
    """
    if not text:
        return ""
    words, parts = split_for_search(text)
    stored = f" {' '.join(words)} " if words else ""
    return f"{stored}\n {' '.join(parts)} " if parts else stored


# ---- from words to their places in a text -------------------------------------------------------


def locate_words(text: str) -> list[Word]:
    """Return the words of a text with their places."""
    folded, starts, ends = _fold_with_places(text)
    found = WORD.finditer(folded.translate(SEPARATORS))
    return [Word(m[0], starts[m.start()], ends[m.end() - 1]) for m in found]


def locate_part(text: str, part: str) -> list[tuple[int, int]]:
    """Return the places of a folded part of the text: (start, end) in the text as written."""
    folded, starts, ends = _fold_with_places(text)
    found = re.finditer(re.escape(part), folded)
    return [(starts[m.start()], ends[m.end() - 1]) for m in found]


def _fold_with_places(text: str) -> tuple[str, list[int] | range, list[int] | range]:
    """Return search_fold() of a text, and where each of its characters begins and ends in it."""
    if text.isascii():
        return text.lower(), range(len(text)), range(1, len(text) + 1)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        piece = search_fold(text[start:end])
        pieces.append(piece)
        starts += [start] * len(piece)
        ends += [end] * len(piece)
    return "".join(pieces), starts, ends


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of the characters that are folded together: a letter with its marks, or the
    parts of a Korean syllable.
    """
    start = 0
    for at, character in enumerate(text):
        is_part = "\u1160" <= character <= "\u11ff" or category(character)[0] == "M"
        if at > start and not is_part:
            yield start, at
            start = at
    yield start, len(text)
