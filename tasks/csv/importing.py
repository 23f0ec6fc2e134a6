"""Import the rows of a file into a project: create tasks, change tasks and add comments.

Everything goes through the changes and actions that the API uses, and is done completely or not at
all.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext, gettext_noop

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import lock_all, serialize_graph_changes
from taskflow.db.text import fold_key
from taskflow.http.errors import Invalid, Problem
from tasks.actions.comments import ImportedComment, import_comments
from tasks.changes.base import TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.context import Context
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.planner import change_tasks
from tasks.changes.update import UpdateTask
from tasks.csv.columns import map_columns
from tasks.csv.existing import attach_existing
from tasks.csv.linking import Blockers, Parents, resolve_references
from tasks.csv.people import People
from tasks.csv.profiles import HISTORY, TASKFLOW, Profile
from tasks.csv.references import (
    as_target,
    order_parents_first,
)
from tasks.csv.rows import Entry, list_people, read_entries, read_people, read_values
from tasks.csv.run import Import, LeftOut
from tasks.csv.tables import Refusals, Table
from tasks.csv.values import CellFormat, fold_word, unprotect
from tasks.models import Comment, Project, Status, Task
from tasks.queries.lookup import read_task_key
from tasks.rules import require_member
from tasks.schemas.csv import ImportOptions

MAX_TAG_NAMES = 1000  # different tags that one file may name
MAX_COMMENTS = 10_000  # of one file
HISTORY_REASON = "A task that exists keeps its history."


def import_table(
    actor: Actor,
    project: Project,
    table: Table,
    options: ImportOptions,
    profile: Profile = TASKFLOW,
) -> Import:
    """Create a task from each row, or change the one that it means. All rows or none.

    The number of statements does not depend on the number of rows. Raises Invalid with all refused
    cells, by row and column, Forbidden unless the actor may write in the project, and Conflict if
    it is archived.
    """
    require_member(actor, project)
    run = _begin(actor, project, _prepare(table, profile), options, profile)
    cell_format = _build_format(actor, options, profile)
    run.skipped = attach_existing(actor, project, run.entries, options.on_existing, run.refusals)
    _read_cells(run, cell_format)
    _check_sizes(run)
    parents, blockers = resolve_references(run)
    _create(run, parents, blockers)
    _change(run, parents, blockers)
    run.refusals.raise_any()
    _add_comments(run)
    return run


def _prepare(table: Table, profile: Profile) -> Table:
    """Return the table with a row for each task, and with the texts that cells stand for."""
    if profile.rearrange:
        return profile.rearrange(table)
    if not profile.is_quoted:
        return table
    rows = [
        type(row)(row.number, row.line, [unprotect(cell) for cell in row.cells])
        for row in table.rows
    ]
    return Table(table.headers, rows)


def _begin(
    actor: Actor, project: Project, table: Table, options: ImportOptions, profile: Profile
) -> Import:
    """Find the field of each column. Raises Invalid for columns that cannot be read."""
    unmapped = options.sent_fields().get("unmapped", profile.unmapped)
    columns = map_columns(table, profile, options.map, options.ignore, unmapped)
    if not columns.targets & {"title", "key", "external_ref"}:
        raise Invalid(
            gettext_noop(
                "The first line must name the column title. To change tasks, it must name key or"
                " external_ref."
            )
        )
    entries, refusals = read_entries(table, columns), Refusals(columns.headers)
    return Import(actor, project, profile, options, columns, entries, refusals)


def _build_format(actor: Actor, options: ImportOptions, profile: Profile) -> CellFormat:
    words = {
        target: {fold_word(text): value for text, value in values.items()}
        for target, values in options.values.items()
    }
    order = options.sent_fields().get("date_order", profile.date_order)
    return CellFormat(profile, order, options.find_zone(actor.tenant.time_zone), words)


def _read_cells(run: Import, cell_format: CellFormat) -> None:
    """Read the values and the people of all active rows. One query."""
    for entry in run.active:
        read_values(entry, cell_format, run.refusals)
    people = People(run.actor, list_people(run.active, cell_format))
    for entry in run.active:
        read_people(entry, cell_format, people, run.refuse)
        if entry.task:
            _leave_history(run, entry, entry.task)


def _leave_history(run: Import, entry: Entry, task: Task) -> None:
    """Report the cells of the history that differ from the task. They are not applied."""
    for target in HISTORY:
        if target in entry.history and entry.history[target] != getattr(task, target):
            run.left_out.append(LeftOut(entry, target, entry.text(target), HISTORY_REASON))
    entry.history = {}


def _check_sizes(run: Import) -> None:
    """Raise Invalid if the file would write too much. See the constants above."""
    names = {fold_key(name) for entry in run.active for name in _tags_of(entry)}
    if len(names) > MAX_TAG_NAMES:
        raise Invalid(
            gettext(
                "The file names %(count)s different tags; one import may name %(limit)s. Split it."
            )
            % {"count": len(names), "limit": MAX_TAG_NAMES},
            code="too_many",
        )
    if sum(len(entry.comments) for entry in run.active) > MAX_COMMENTS:
        raise Invalid(
            gettext("The file has more than %(limit)s comments. Split it.")
            % {"limit": MAX_COMMENTS},
            code="too_many",
        )


def _tags_of(entry: Entry) -> Sequence[str]:
    names = entry.values.get("tags")
    return names if isinstance(names, list) else ()


# ---- writing ------------------------------------------------------------------------------------


def _create(run: Import, parents: Parents, blockers: Blockers) -> None:
    """Create the new tasks, or only check them if a row has been refused already."""
    new = order_parents_first([e for e in run.active if not e.task], parents, run.refusals)
    for entry in new:
        values = {n: v for n, v in entry.values.items() if n not in entry.refused}
        entry.new = CreateTask(
            run.project,
            str(values.pop("title", "")),
            tags=_tags_of(entry),
            values={name: value for name, value in values.items() if name != "tags"},
            force=run.options.force or "status" in entry.refused,
            history=entry.history | _read_number(run, entry),
        )
    for entry in new:
        if entry.new:
            parent = parents.get(entry)
            # None if the row of the parent is refused: then nothing is written.
            entry.new.parent = as_target(parent) if parent else None
            targets = [as_target(other) for other in blockers.get(entry, ())]
            entry.new.blocked_by = [target for target in targets if target]
    _lock(run, blockers)
    problems: dict[int, Problem] = {}
    changes = [entry.new for entry in new if entry.new]
    created = create_tasks(
        run.actor, changes, problems, check_only=bool(run.refusals.errors), find_all=True
    )
    for index, problem in problems.items():
        run.refusals.add(new[index].row, problem)
    numbers = {new[index]: task for index, task in created.items()}
    run.created = {entry: numbers[entry] for entry in run.entries if entry in numbers}


def _read_number(run: Import, entry: Entry) -> dict[str, object]:
    """Return the number of the row's key if `keep_numbers` is set; otherwise nothing."""
    is_kept = run.options.keep_numbers and "key" not in entry.refused
    key = read_task_key(entry.text("key")) if is_kept else None
    return {"number": key[1]} if key else {}


def _lock(run: Import, blockers: Blockers) -> None:
    """Lock the graph, the new assignees and the project, if tasks of the project are changed.

    Creating and changing tasks would lock them one after the other, and two such requests could
    wait for each other.
    """
    if any(entry.task for entry in run.active):
        if blockers:
            serialize_graph_changes(run.actor)
        assignees = [entry.values.get("assignee") for entry in run.active]
        users = [user for user in assignees if isinstance(user, User)]
        Context(run.actor).lock_assignees([run.project], users)
        lock_all([run.project])


def _change(run: Import, parents: Parents, blockers: Blockers) -> None:
    """Change the tasks that exist, or only check the changes if a row has been refused."""
    changing = [entry for entry in run.active if entry.task and "key" not in entry.refused]
    versions = {entry.task.pk: entry.task.version for entry in changing if entry.task}
    changes: list[tuple[Entry, TaskChange]] = []
    for entry in changing:
        changes += [(entry, change) for change in _build_changes(run, entry, parents, blockers)]
    # Completions come last, so that a task and its subtasks can be completed by one file.
    changes.sort(key=lambda pair: pair[1].operation == "complete")
    problems: dict[int, Problem] = {}
    change_tasks(
        run.actor,
        [change for _, change in changes],
        problems,
        has_project_locks=True,
        check_only=bool(run.refusals.errors),
        find_all=True,
    )
    for index, problem in problems.items():
        run.refusals.add(changes[index][0].row, problem)
    for entry in changing:
        if entry.task:
            is_changed = entry.task.version != versions[entry.task.pk]
            (run.changed if is_changed else run.unchanged).append(entry.task)


def _build_changes(
    run: Import, entry: Entry, parents: Parents, blockers: Blockers
) -> list[TaskChange]:
    """Return the changes of a row: an update, and a completion of its own if it is completed."""
    if entry.task is None:
        return []
    values = dict(entry.values)
    if entry in parents:
        parent = parents[entry]
        values["parent"] = _as_task(run, parent) if parent else None
    if entry in blockers:
        tasks = [_as_task(run, other) for other in blockers[entry]]
        values["blocked_by"] = [task for task in tasks if task]
    force, changes = run.options.force or "status" in entry.refused, list[TaskChange]()
    if values.get("status") == Status.DONE and not entry.task.completed:
        outcome = {"outcome": values.pop("outcome", None)}
        changes.append(CompleteTask.build(entry.task, outcome, force=force))
        del values["status"]
    if values:
        changes.append(UpdateTask.build(entry.task, values, force=force))
    return changes


def _as_task(run: Import, other: Entry | Task) -> Task | None:
    """Return the task of a row; None if the row is refused."""
    return other if isinstance(other, Task) else (other.task or run.created.get(other))


def _add_comments(run: Import) -> None:
    """Add the comments of all rows. Those that a task has already are left out."""
    tasks = {entry: entry.task or run.created[entry] for entry in run.active if entry.comments}
    present = _load_comments([task for entry, task in tasks.items() if entry.task])
    new = [
        ImportedComment(task, comment.body, comment.author, comment.created_at)
        for entry, task in tasks.items()
        for comment in entry.comments
        if (task.pk, comment.body) not in present
    ]
    import_comments(run.actor, new)
    run.comments = len(new)


def _load_comments(tasks: Sequence[Task]) -> set[tuple[int, str]]:
    """Return the task's id and the body of each comment on the tasks. One query, or none."""
    if not tasks:
        return set()
    rows = Comment.everything.filter(task__in=[task.pk for task in tasks])
    return set(rows.values_list("task_id", "body"))
