"""Find the tasks that the rows of a file mean: those of the project with the same key or
external_ref.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.utils.translation import gettext, gettext_noop

from taskflow.audit.actor import Actor
from taskflow.http.errors import Conflict, Invalid, Problem
from tasks.csv.rows import Entry, attach_task
from tasks.csv.tables import Refusals
from tasks.csv.writing import select_details
from tasks.models import Project, Task
from tasks.queries.lookup import find_tasks, read_task_key
from tasks.schemas.csv import OnExisting

IDENTITIES = ("key", "external_ref")  # by which a row means a task
MAX_NAMED_PROJECTS = 100  # of which one file may name tasks by key


def find_named_tasks(actor: Actor, refs: Iterable[str]) -> dict[str, Task]:
    """Return the visible tasks with these ids or keys, by the given text. At most three queries.

    Raises Invalid for keys of more than MAX_NAMED_PROJECTS projects, since the query names each.
    """
    given = set(refs)
    projects = {key[0] for ref in given if (key := read_task_key(ref))}
    if len(projects) > MAX_NAMED_PROJECTS:
        raise Invalid(
            gettext("The file names tasks of more than %(limit)s projects. Split it.")
            % {"limit": MAX_NAMED_PROJECTS},
            code="too_many",
        )
    return find_tasks(actor, given) if given else {}


def attach_existing(
    actor: Actor,
    project: Project,
    entries: Sequence[Entry],
    on_existing: OnExisting,
    refusals: Refusals,
) -> list[Entry]:
    """Set the task of each row that has one in the project. Return the skipped rows.

    With REFUSE, each such row is refused. A row is also refused if its task is in the trash or was
    moved to another project, if its key and its external_ref are those of two tasks, and if a row
    before it means the same task. At most six queries.
    """
    task_ids = _find_ids(actor, project, entries, refusals)
    _refuse_repeated([entry for entry in entries if entry not in task_ids], refusals)
    rows = select_details(actor, Task.objects.filter(pk__in=sorted(set(task_ids.values()))))
    tasks = {task.pk: task for task in rows} if task_ids else {}
    first: dict[int, Entry] = {}
    for entry, task_id in task_ids.items():
        task = tasks[task_id]
        if on_existing == OnExisting.REFUSE:
            refusals.add(entry.row, _build_exists(task, _name_of(entry)))
        elif other := first.get(task_id):
            detail = gettext("Row %(row)s means %(key)s too. Leave one row for each task.")
            detail %= {"row": other.row.number, "key": task.key}
            refusals.add(entry.row, Invalid.field(_name_of(entry), detail, "repeated"))
            entry.refused |= {*IDENTITIES}
        first.setdefault(task_id, entry)
        attach_task(entry, task)
    return list(task_ids) if on_existing == OnExisting.SKIP else []


def _find_ids(
    actor: Actor, project: Project, entries: Sequence[Entry], refusals: Refusals
) -> dict[Entry, int]:
    """Return the id of the task in the project that each row means. Refuses rows of two tasks."""
    by_key = _find_by_key(actor, project, entries)
    by_ref = _find_by_external_ref(project, entries)
    ids: dict[Entry, int] = {}
    for entry in entries:
        found = [by_key.get(entry.text("key")), by_ref.get(entry.text("external_ref"))]
        problems = [other for other in found if isinstance(other, Problem)]
        pks = {task.pk for task in found if isinstance(task, Task)}
        if len(pks) > 1:
            problems.append(
                Conflict(gettext_noop("The key and the external_ref are those of two tasks."))
            )
        if problems:
            refusals.add(entry.row, problems[0], _name_of(entry))
            entry.refused |= {*IDENTITIES}
        elif pks:
            ids[entry] = pks.pop()
    return ids


def _find_by_key(
    actor: Actor, project: Project, entries: Sequence[Entry]
) -> Mapping[str, Task | Problem | None]:
    """Return the task of the project, or why there is none, by the key in the file.

    The key of another project only names the row, unless its task was moved to this project.
    """
    keys = {entry.text("key") for entry in entries} - {""}
    found = find_named_tasks(actor, keys)
    parsed = {key: read_task_key(key) for key in keys}
    numbers = {key: read[1] for key, read in parsed.items() if read and read[0] == project.key}
    rows = Task.everything.filter(project=project, number__in=sorted(numbers.values()))
    in_trash = set(rows.filter(deleted_at__isnull=False).values_list("number", flat=True))
    results: dict[str, Task | Problem | None] = {}
    for key in keys:
        task = found.get(key)
        if task and task.project_id == project.pk:
            results[key] = task
        elif task and key in numbers:
            results[key] = Conflict(
                gettext("%(former)s was moved and is %(key)s now. Import it there.")
                % {"former": key, "key": task.key}
            )
        elif numbers.get(key) in in_trash:
            results[key] = Conflict(
                gettext("%(key)s is in the trash. Restore it first, or remove the key.")
                % {"key": key}
            )
    return results


def _find_by_external_ref(
    project: Project, entries: Sequence[Entry]
) -> Mapping[str, Task | Problem | None]:
    """Return the task of the project, or why it cannot be used, by external_ref. One query."""
    refs = {entry.text("external_ref") for entry in entries} - {""}
    rows = Task.everything.filter(project=project, external_ref__in=sorted(refs))
    tasks = rows.select_related("project") if refs else ()
    return {
        str(task.external_ref): Conflict(
            gettext("%(key)s has this external_ref and is in the trash. Restore it first.")
            % {"key": task.key}
        )
        if task.deleted_at
        else task
        for task in tasks
    }


def _refuse_repeated(entries: Iterable[Entry], refusals: Refusals) -> None:
    """Refuse rows of new tasks whose key or external_ref is that of a row before them."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        for name in IDENTITIES:
            text = entry.text(name)
            other = first.setdefault((name, text), entry) if text else entry
            if other is not entry:
                detail = gettext("Row %(row)s has the same %(name)s. Leave one of the rows.")
                detail %= {"row": other.row.number, "name": name}
                refusals.add(entry.row, Invalid.field(name, detail, "repeated"))
                entry.refused.add(name)


def _build_exists(task: Task, name: str) -> Problem:
    return Invalid.field(
        name,
        f"{task.key} is in the project already. Send on_existing=update to change it, or"
        " on_existing=skip to leave the row out.",
        "exists",
    )


def _name_of(entry: Entry) -> str:
    """Return the field by which the row means a task that exists."""
    return "key" if entry.text("key") else "external_ref"
