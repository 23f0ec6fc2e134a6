"""The page that imports a CSV file: the file, what its columns are, a trial, then the import."""

from __future__ import annotations

from tasks.admin.csv_import import page as page
