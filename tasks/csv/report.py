"""What an import answers."""

from __future__ import annotations

from tasks.csv.run import Import
from tasks.csv.writing import format_cells, select_details
from tasks.models import Task

MAX_LEFT_OUT = 100  # cells that one response lists
SAMPLE_SIZE = 5  # tasks


def report_tasks(run: Import) -> dict[str, object]:
    """Return the fields of ImportedTasks."""
    headers = run.columns.headers
    return {
        "created": len(run.created),
        "updated": len(run.changed),
        "unchanged": len(run.unchanged),
        "skipped": len(run.skipped),
        "comments": run.comments,
        "keys": [task.key for task in run.created.values()],
        "left_out_count": len(run.left_out),
        "left_out": [
            {
                "row": cell.entry.row.number,
                "column": headers.get(cell.target, cell.target),
                "value": cell.text,
                "reason": cell.reason,
            }
            for cell in run.left_out[:MAX_LEFT_OUT]
        ],
    }


def report_import(run: Import) -> dict[str, object]:
    """Return the fields of ImportResult. Three queries for the sample."""
    tasks = [task for entry in run.active if (task := entry.task or run.created.get(entry))]
    ids = [task.pk for task in tasks[:SAMPLE_SIZE]]
    details = select_details(run.actor, Task.objects.filter(pk__in=ids))
    rows = sorted(details, key=lambda task: ids.index(task.pk))
    return report_tasks(run) | {
        "unmapped_columns": list(run.columns.unmapped),
        "sample": [format_cells(task) for task in rows],
    }
