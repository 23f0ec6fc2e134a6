"""Static files have names with a digest, are compressed, and may be kept for a year."""

from __future__ import annotations

import gzip
import os
import re

import pytest
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.test import Client

from taskflow.http import static_files as module
from taskflow.http.static_files import FOREVER, REVALIDATE, StaticFileStore, static_files

pytestmark = pytest.mark.one_database

STYLES = "unfold/css/styles.css"


@pytest.fixture
def folder(tmp_path, monkeypatch, settings):
    """A folder with static files, which the store of this test finds behind those of the apps."""
    settings.STATICFILES_DIRS = [tmp_path]
    finders.get_finder.cache_clear()
    yield tmp_path
    finders.get_finder.cache_clear()


def test_every_name_in_a_page_has_a_digest_and_is_kept_for_a_year(client, fixtures):
    page = client.get("/admin/login/").content.decode()
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)

    assert len(names) > 10
    for name in names:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", name), name
        r = client.get(name)
        assert (r.status_code, r.headers["Cache-Control"]) == (200, FOREVER), name


def test_digest_is_that_of_the_content(folder):
    (folder / "a.js").write_text("1")
    first = StaticFileStore().find("a.js").hashed_name
    (folder / "a.js").write_text("2")

    assert StaticFileStore().find("a.js").hashed_name != first


def test_stylesheet_names_the_files_that_it_loads_with_their_digests(folder):
    (folder / "css").mkdir()
    (folder / "font.woff2").write_text("font")
    css = "a{b:url(../font.woff2)}c{d:url('../font.woff2')}e{f:url(data:x)}g{h:url(none.png)}"
    (folder / "css" / "a.css").write_text(css)
    store = StaticFileStore()
    font = store.find("font.woff2").hashed_name

    body = store.find("css/a.css").body.decode()

    assert body == (
        f"a{{b:url(../{font})}}c{{d:url('../{font}')}}e{{f:url(data:x)}}g{{h:url(none.png)}}"
    )


def test_fonts_of_the_admin_are_served_under_their_digests(client):
    css = client.get(static("unfold/fonts/inter/styles.css")).content.decode()
    (name, *_others) = re.findall(r"url\(([^)]+)\)", css)

    r = client.get(f"/static/unfold/fonts/inter/{name}")

    assert (r.status_code, r.headers["Content-Type"]) == (200, "font/woff2")
    assert r.headers["Cache-Control"] == FOREVER
    assert "Content-Encoding" not in r.headers, "it is compressed already"


def test_file_is_compressed_for_clients_that_accept_it(client):
    plain = client.get(static(STYLES), headers={"Accept-Encoding": "identity"})
    zipped = client.get(static(STYLES), headers={"Accept-Encoding": "gzip"})

    assert gzip.decompress(zipped.content) == plain.content
    assert len(zipped.content) < len(plain.content) / 4
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) == len(zipped.content)
    assert {plain.headers["Vary"], zipped.headers["Vary"]} == {"Accept-Encoding"}
    assert plain.headers["ETag"] != zipped.headers["ETag"]


def test_name_without_a_digest_is_checked_each_time(client):
    r = client.get(f"/static/{STYLES}")
    again = client.get(f"/static/{STYLES}", headers={"If-None-Match": r.headers["ETag"]})

    assert (r.status_code, r.headers["Cache-Control"]) == (200, REVALIDATE)
    assert (again.status_code, again.content) == (304, b"")


def test_name_of_another_release_gets_the_present_content_for_now(client):
    r = client.get("/static/unfold/css/styles.0123456789ab.css")

    assert (r.status_code, r.headers["Cache-Control"]) == (200, REVALIDATE)


@pytest.mark.parametrize(
    "name", ["none.css", "", "../settings.py", "unfold", "unfold/css", "none.0123456789ab.css"]
)
def test_other_names_are_not_found(client, db, name):
    assert client.get(f"/static/{name}").status_code == 404


def test_changed_file_is_read_again_with_debug_on_only(folder, settings):
    path = folder / "a.js"
    path.write_text("1")
    store = StaticFileStore()
    assert store.find("a.js").body == b"1"
    path.write_text("2")
    os.utime(path, ns=(1, 1))

    assert store.find("a.js").body == b"1"
    settings.DEBUG = True
    assert store.find("a.js").body == b"2"
    (folder / "b.js").write_text("3")
    assert store.find("b.js").body == b"3"


def test_icon_is_at_the_path_where_browsers_look_and_needs_no_tenant(db):
    r = Client(SERVER_NAME="nobody.localhost").get("/favicon.ico")

    assert (r.status_code, r.headers["Content-Type"]) == (200, "image/svg+xml")


def test_every_file_has_a_known_content_type():
    suffixes = {os.path.splitext(name)[1] for name in static_files()._paths}
    served = suffixes - {"", ".md", ".map"}  # licences and the like, which no page names

    assert served <= module.CONTENT_TYPES.keys()
