"""Finds the texts that are marked for translation, and writes the German catalog.

`make messages` adds new texts to the catalog without a translation, removes those that no code has
any more, compiles the catalog, and lists what is not translated. It needs no GNU gettext.
"""

from __future__ import annotations

import ast
import gettext
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import django
import unfold
from django.contrib import admin
from django.urls import get_resolver
from django.utils.translation.template import templatize

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
    django.setup()

from taskflow.admin.names import find_names
from taskflow.audit.event_words import list_texts

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "taskflow" / "locale" / "de" / "LC_MESSAGES" / "django.po"
APPS = [ROOT / name for name in ("taskflow", "accounts", "tasks")]
UNFOLD = Path(unfold.__file__).parent
DJANGO = Path(django.__file__).parent
# Django's catalogs that are loaded: its own, and those of the apps in INSTALLED_APPS.
DJANGO_CATALOGS = [
    DJANGO / part / "locale" / "de" / "LC_MESSAGES" / "django.mo"
    for part in (
        "conf",
        "contrib/admin",
        "contrib/auth",
        "contrib/contenttypes",
        "contrib/sessions",
    )
]
# What is no product code, and the parts of Unfold that are not in INSTALLED_APPS.
LEFT_OUT = {"tests", "migrations", "constance", "guardian", "import_export"}
LEFT_OUT |= {"inlines", "location_field", "simple_history"}
MARKS = {"gettext": 1, "gettext_lazy": 1, "gettext_noop": 1, "ngettext": 2, "ngettext_lazy": 2}
HEADER = """\
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
Language: de
Plural-Forms: nplurals=2; plural=(n != 1);
"""


class Text(NamedTuple):
    one: str
    many: str = ""  # the plural form; "" if there is none


Catalog = dict[Text, tuple[str, ...]]  # one translation, or those of singular and plural


# ---- the texts in the source --------------------------------------------------------------------


def find_texts() -> set[Text]:
    """Return the texts of TaskFlow that are marked for translation, with the names of models
    and the sentences of events.

    A text that is marked with a plural and without is one entry of a catalog.
    """
    texts = {text for app in APPS for text in texts_below(app)}
    texts |= {Text(str(getattr(named, name))) for named, name in find_names(admin.site)}
    get_resolver().url_patterns  # noqa: B018 - loads all modules that describe events
    texts |= {Text(text) for text in list_texts()}
    with_plural = {text.one for text in texts if text.many}
    return {text for text in texts if text.many or text.one not in with_plural}


def find_texts_of_unfold() -> set[Text]:
    """Return the texts of Unfold that Django has not translated. Unfold has no catalog itself."""
    known = {text for path in DJANGO_CATALOGS for text in keys_of(path)}
    return {text for text in texts_below(UNFOLD) if text.one not in known}


def keys_of(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for key in gettext.GNUTranslations(file)._catalog:
            yield key[0] if isinstance(key, tuple) else key


def texts_below(directory: Path) -> Iterator[Text]:
    for path in directory.rglob("*"):
        if LEFT_OUT & set(path.relative_to(directory).parts):
            continue
        if path.suffix == ".py":
            yield from texts_of_module(ast.parse(path.read_text()))
        elif "templates" in path.parts and path.suffix in (".html", ".txt"):
            # Django's own tool also makes Python of a template, with a call for each text.
            for call in re.findall(r"\b(?:n?gettext|_)\([^\n]*?\) ", templatize(path.read_text())):
                yield from texts_of_calls(ast.parse(call.strip()), {"_": "gettext"})


def texts_of_module(tree: ast.Module) -> Iterator[Text]:
    names = {
        name.asname or name.name: name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for name in node.names
    }
    return texts_of_calls(tree, names)


def texts_of_calls(tree: ast.AST, names: dict[str, str]) -> Iterator[Text]:
    """Yield the texts of calls of the functions that mark texts; `names` are those they have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            count = MARKS.get(names.get(node.func.id, node.func.id), 0)
            texts = [arg.value for arg in node.args[:count] if isinstance(arg, ast.Constant)]
            if texts and len(texts) == count:
                yield Text(*texts)


# ---- the catalog --------------------------------------------------------------------------------


def read_catalog(text: str) -> Catalog:
    """Return the translations of a .po file without its header."""
    catalog: Catalog = {}
    for block in text.split("\n\n")[1:]:
        parts: dict[str, str] = {}
        name = ""
        for line in block.strip().splitlines():
            name, quotation = line.split(" ", 1) if line[0] != '"' else (name, line)
            parts[name] = parts.get(name, "") + ast.literal_eval(quotation)
        forms = tuple(value for name, value in parts.items() if name.startswith("msgstr"))
        catalog[Text(parts["msgid"], parts.get("msgid_plural", ""))] = forms
    return catalog


def write_catalog(catalog: Catalog) -> str:
    """Return the text of the .po file, in the order of the texts."""
    lines = ["# German texts of TaskFlow. `make messages` adds new ones, and compiles the file."]
    lines += ['msgid ""', 'msgstr ""', *(quote(line) for line in HEADER.splitlines(True))]
    for text, forms in sorted(catalog.items()):
        lines += ["", f"msgid {quote(text.one)}"]
        if text.many:
            lines.append(f"msgid_plural {quote(text.many)}")
            lines += [f"msgstr[{number}] {quote(form)}" for number, form in enumerate(forms)]
        else:
            lines.append(f"msgstr {quote(forms[0])}")
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def compile_catalog(catalog: Catalog) -> bytes:
    """Return the .mo file: a header, tables of lengths and positions, and the texts."""
    pairs = {"": HEADER} | {
        "\0".join(filter(None, text)): "\0".join(forms) for text, forms in catalog.items()
    }
    encoded = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    tables, texts = b"", b""
    start = 28 + 16 * len(encoded)
    for column in (0, 1):
        for pair in encoded:
            tables += struct.pack("<II", len(pair[column]), start + len(texts))
            texts += pair[column] + b"\0"
    head = struct.pack("<IIIIIII", 0x950412DE, 0, len(encoded), 28, 28 + 8 * len(encoded), 0, start)
    return head + tables + texts


def main() -> None:
    old = read_catalog(CATALOG.read_text()) if CATALOG.exists() else {}
    texts = find_texts() | find_texts_of_unfold()
    catalog = {text: old.get(text, ("", "") if text.many else ("",)) for text in texts}
    CATALOG.write_text(write_catalog(catalog))
    CATALOG.with_suffix(".mo").write_bytes(compile_catalog(catalog))
    missing = sorted(text.one for text, forms in catalog.items() if not all(forms))
    if missing:
        sys.exit("Translate these in {}:\n{}".format(CATALOG, "\n".join(missing)))


if __name__ == "__main__":
    main()
