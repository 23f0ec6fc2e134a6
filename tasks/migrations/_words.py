"""A copy of search_text() in taskflow/db/text.py, as it was when its columns were added.

Like a migration, this module never changes.
"""

from __future__ import annotations

import re
from functools import cache
from unicodedata import category, combining, normalize

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
WORD = re.compile(rf"[{UNSPACED}]|[^\s+#{UNSPACED}]{{1,500}}[+#]{{0,20}}")


class _Separators(dict[int, int]):
    def __missing__(self, code: int) -> int:
        character = chr(code)
        is_in_word = category(character)[0] in "LMN" or character in "+#"
        self[code] = code if is_in_word else ord(" ")
        return self[code]


SEPARATORS = _Separators()


@cache
def accents() -> str:
    classes = ((code, combining(chr(code))) for code in range(0x300, 0x1E94B))
    return "".join(chr(code) for code, n in classes if 10 <= n < 36 or n >= 200)


@cache
def accent_of_character() -> re.Pattern[str]:
    return re.compile(rf"(?<=\S)[{accents()}]+")


def search_fold(text: str) -> str:
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    return normalize("NFC", accent_of_character().sub("", normalize("NFKD", folded)))


def search_text(text: str) -> str:
    folded = search_fold(text)
    words, parts = words_of(folded), dict.fromkeys(folded.split())
    known = set(words)
    others = [p for p in parts if p not in known and len("".join(words_of(p))) < len(p)]
    stored = f" {' '.join(words)} " if words else ""
    return f"{stored}\n {' '.join(others)} " if others else stored


def words_of(folded: str) -> list[str]:
    return WORD.findall(folded.translate(SEPARATORS))
