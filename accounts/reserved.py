"""The names that nobody can register, and what looks like them.

Two names look alike if simplify_name() returns the same text for both. It ignores what people
overlook: case, width, accents, hyphens and spaces, letters of other alphabets, and digits that look
like letters. It is a short list of what is common, not the whole of Unicode's confusables. It is
never stored, so it can be extended at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import combining, normalize

from accounts.models import PLATFORM
from taskflow.db.text import fold

PRODUCT = "taskflow"
# Hosts that people take for a part of the installation, and not for a tenant.
RESERVED_SUBDOMAINS = frozenset(
    {
        PLATFORM, PRODUCT, "account", "accounts", "admin", "administrator", "api", "app", "assets",
        "auth", "billing", "blog", "cdn", "dashboard", "docs", "email", "ftp", "help", "imap",
        "localhost", "login", "mail", "mx", "ns1", "ns2", "operator", "pop", "postmaster", "root",
        "security", "signin", "smtp", "sso", "staff", "static", "status", "support", "system",
        "web", "webmaster", "www",
    }
)  # fmt: skip
# Names of tenants, which are shown to people. Companies may be called Status or Support.
RESERVED_NAMES = frozenset({PLATFORM, PRODUCT, "admin", "administrator", "operator"})
# DNS labels that begin like this stand for other characters: browsers show xn--cme-7ed as “аcme”.
# See RFC 5891, section 4.2.3.1.
ENCODED_LABEL = "--"
ENCODED_LABEL_POSITION = 2
# What looks like a letter, by that letter. The letters i, j and l stand for one shape. Capitals are
# listed where they look like another letter than their small form.
LOOKALIKES = {
    "a": "4@аαɑ", "b": "8ьʙвβ", "c": "сϲƈ¢", "d": "ԁɗ", "e": "3еєεҽ€", "g": "9ɡԍ", "h": "һнիΗ",
    "i": "1lj|!іјӏιɩıł", "k": "кκ", "m": "мΜ", "n": "пηոΝ", "o": "0оοσօøө", "p": "рρþ",
    "q": "ԛգ", "r": "гɼ", "s": "5$ѕʂ", "t": "7тτ", "u": "υսμц", "v": "ѵν", "w": "ԝωшѡ", "x": "хχ×",
    "y": "уγүʏΥ", "z": "2ʐΖ",
}  # fmt: skip
_TO_LETTER = {ord(other): letter for letter, others in LOOKALIKES.items() for other in others}
PAIRS = (("rn", "m"), ("vv", "w"))  # that look like one letter


def simplify_name(name: str) -> str:
    """Return what names that look alike have in common: lower-case letters and digits.

    An empty text if the name has neither.
    """
    inner = name.strip("! ")  # at the ends, “!” is no letter
    decomposed = normalize("NFKD", fold(inner.translate(_TO_LETTER)))
    letters = "".join(c for c in decomposed if not combining(c))
    simple = "".join(c for c in letters.translate(_TO_LETTER) if c.isalnum())
    for pair, letter in PAIRS:
        simple = simple.replace(pair, letter)
    return simple


def looks_like_one_of(name: str, others: Iterable[str]) -> bool:
    """Whether the name looks like one of the others, or is one of them."""
    simple = simplify_name(name)
    return simple in {simplify_name(other) for other in others}


def is_encoded_label(subdomain: str) -> bool:
    """Whether the subdomain is a DNS label that browsers may show as other characters."""
    return subdomain[ENCODED_LABEL_POSITION:].startswith(ENCODED_LABEL)
