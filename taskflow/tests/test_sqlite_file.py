"""A database file that is deleted or replaced while the server runs."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections

from taskflow.db.sqlite import files
from taskflow.db.sqlite.base import DatabaseWrapper
from taskflow.http.database_errors import problem_of_database_error

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has no file"),
]


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A connection, of a server, to a file with one row."""
    path = make_file(tmp_path / "taskflow.sqlite3", "first")
    settings = connections["default"].settings_dict | {"NAME": str(path)}
    wrapper = DatabaseWrapper(settings, "file")
    monkeypatch.setattr(files, "_must_exist", True)
    yield wrapper
    wrapper.close()


def make_file(path: Path, name: str) -> Path:
    file = sqlite3.connect(path)
    with file:
        file.execute("CREATE TABLE tag (name text)")
        file.execute("INSERT INTO tag VALUES (?)", [name])
    file.close()
    return path


def read_names(database):
    with database.cursor() as cursor:
        cursor.execute("SELECT name FROM tag")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.raw_sql
def test_replaced_file_is_used_from_the_next_transaction_on(database, tmp_path):
    assert read_names(database) == ["first"]
    os.replace(make_file(tmp_path / "other", "second"), database.settings_dict["NAME"])

    with database.cursor() as cursor:
        cursor.execute("INSERT INTO tag VALUES ('third')")

    assert read_names(database) == ["second", "third"]


@pytest.mark.raw_sql
def test_deleted_file_is_an_error_and_is_not_created_again(database):
    assert read_names(database) == ["first"]
    path = Path(database.settings_dict["NAME"])
    path.unlink()

    for _ in range(2):
        with pytest.raises(OperationalError) as caught:
            read_names(database)

        assert problem_of_database_error(caught.value).status == 503
        assert not path.exists()


@pytest.mark.raw_sql
def test_file_that_comes_back_is_used_again(database, tmp_path):
    read_names(database)
    path = Path(database.settings_dict["NAME"])
    aside = path.rename(tmp_path / "aside")
    with pytest.raises(OperationalError):
        read_names(database)

    aside.rename(path)

    assert read_names(database) == ["first"]
