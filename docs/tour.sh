#!/usr/bin/env bash
# A tour of TaskFlow with curl, on the demo that `make run` seeds:
#
#     bash docs/tour.sh                          # http://127.0.0.1:8000
#     bash docs/tour.sh http://127.0.0.1:8001
#
# Every step prints what it does, the call and the response. The tour stops when a status is not the
# expected one.
set -euo pipefail
URL=${1:-http://127.0.0.1:8000}
API=$URL/api/v1
TOKEN=
ANSWER=$(mktemp)
trap 'rm -f "$ANSWER"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# call STATUS METHOD PATH [BODY] [CONTENT-TYPE]; HEADERS is sent with the next call only
HEADERS=()
call() {
  local status
  printf '> %s %s %s\n' "$2" "$3" "${4:-}"
  status=$(curl -sS -o "$ANSWER" -w '%{http_code}' -X "$2" "$API$3" \
    ${TOKEN:+-H "Authorization: Bearer $TOKEN"} \
    ${4:+-H "Content-Type: ${5:-application/json}"} ${4:+--data-binary "$4"} "${HEADERS[@]}")
  HEADERS=()
  printf '< %s %s\n' "$status" "$(head -c 400 "$ANSWER")"
  [ "$status" = "$1" ] || { echo "expected $1" >&2; exit 1; }
}

# of EXPRESSION: prints a Python expression in which `a` is the last response
of() { python3 -c 'import json, sys; a = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$ANSWER" "$1"; }

say "Sign in as Ada, an administrator of the first demo tenant."
call 200 POST /auth/login '{"email": "ada@acme.example", "password": "taskflow-demo-2026"}'
TOKEN=$(of 'a["token"]')

say "Create a project with its first tasks in one request: subtasks, tags by name, blockers by a local ref."
KEY=$(python3 -c 'import random; print("T" + "".join(random.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=6)))')
call 201 POST /projects '{"name": "Moon base", "key": "'"$KEY"'", "tasks": [
  {"title": "Choose a crater", "ref": "crater", "priority": "high", "tags": ["site"]},
  {"title": "Build the dome", "blocked_by": ["crater"], "tags": ["building"],
   "subtasks": [{"title": "Order glass"}, {"title": "Seal the lock"}]}]}'

say "If one task is invalid, the response has a pointer to the fault, and nothing is created."
call 422 POST /projects '{"name": "Bad", "tasks": [{"title": "fine"}, {"title": ""}]}'

say "List the tasks that are ready: open, and without an open blocker."
call 200 GET "/tasks?project=$KEY&ready=true&sort=-priority,number"

say "Repeating a filter means or. A filter whose name ends in _not excludes rows."
call 200 GET "/tasks?project=$KEY&tag=site&tag=building&status_not=done"

say "The dome cannot be completed while its subtasks and blockers are open. The response lists them."
call 409 POST "/tasks/$KEY-2/completion"
call 200 POST "/tasks/$KEY-1/completion"
call 200 POST "/tasks/$KEY-2/completion?force=true"
call 200 DELETE "/tasks/$KEY-2/completion"

say "A cycle of blockers is refused."
call 409 PATCH "/tasks/$KEY-1" '{"blocked_by": ["'"$KEY"'-2"]}'

say "Comments are stored unchanged."
call 201 POST /comments '{"task": "'"$KEY"'-2", "body": "Three layers of **glass**, says the lab."}'
call 200 GET "/comments?task=$KEY-2"

say "Pages are drafts until they are published."
call 201 POST /pages '{"project": "'"$KEY"'", "title": "Airlock drill", "body": "1. Close the inner door."}'
PAGE=$(of 'a["id"]')
call 200 POST "/pages/$PAGE/publication"
call 200 GET "/pages?project=$KEY&is_published=true"

say "Search finds words in tasks, comments and pages, and tasks by key."
call 200 GET "/search?q=glass"
call 200 GET "/search?q=$KEY-2&kind=task"

say "Create or update a task by an id of your own system. Repeating the call is safe."
call 201 PUT "/projects/$KEY/tasks/by-ref/erp-77" '{"title": "Pay for the glass"}'
call 200 PUT "/projects/$KEY/tasks/by-ref/erp-77" '{"title": "Pay for the glass", "priority": "high"}'

say "Assign a task and unassign it."
call 200 POST "/tasks/$KEY-5/assignment" '{"assignee": "me"}'
call 200 DELETE "/tasks/$KEY-5/assignment"

say "Send up to 500 operations in one request. By default all succeed or none."
call 200 POST /tasks/bulk '{"operations": [
  {"op": "create", "data": {"project": "'"$KEY"'", "title": "Test the seals", "tags": ["safety"]}},
  {"op": "assign", "id": "'"$KEY"'-3", "data": {"assignee": "me"}},
  {"op": "tag", "where": {"project": ["'"$KEY"'"], "status": ["todo"]}, "data": {"tags": ["base"]}}]}'
call 404 POST /tasks/bulk '{"operations": [
  {"op": "complete", "id": "'"$KEY"'-3"}, {"op": "delete", "id": "'"$KEY"'-99"}]}'

say "With on_error=skip, each operation has a result of its own."
call 200 POST /tasks/bulk '{"on_error": "skip", "operations": [
  {"op": "complete", "id": "'"$KEY"'-3"}, {"op": "delete", "id": "'"$KEY"'-99"}]}'

say "Move a task to another project. It gets a new key, and the old key still finds it."
call 201 POST /projects '{"name": "Moon base, phase 2"}'
SECOND=$(of 'a["key"]')
call 200 POST "/tasks/$KEY-5/move" '{"project": "'"$SECOND"'"}'
call 200 GET "/tasks/$KEY-5"

say "Read the history of the dome, as sentences and as data."
call 200 GET "/tasks/$KEY-2/events"
call 200 GET "/projects/$KEY/events?verb=task.created&limit=2"

say "Download tasks as CSV and import some. A dry run lists each invalid line."
call 200 GET "/projects/$KEY/tasks.csv?status_not=done"
call 422 POST "/projects/$KEY/tasks.csv?dry_run=true" $'title,priority\nPaint it,low\nLight it,urgent\n' text/csv
call 200 POST "/projects/$KEY/tasks.csv" $'title,priority\nPaint it,low\nLight it,high\n' text/csv

say "Complete all open tasks of the project with one call."
call 200 POST "/projects/$KEY/completion"

say "Deleted rows are in the trash. Restoring brings back what was deleted together."
call 204 DELETE "/tasks/$KEY-2"
call 404 GET "/tasks/$KEY-3"
call 200 GET "/trash?kind=task&limit=1"
DOME=$(of 'a["data"][0]["id"]')
call 200 POST "/trash/task/$DOME/restoration"
call 200 GET "/tasks/$KEY-3"

say "A write with an Idempotency-Key happens once, even if it is sent twice."
for _ in 1 2; do
  HEADERS=(-H "Idempotency-Key: order-$KEY" -H "X-Request-Id: order-$KEY")
  call 201 POST /tasks '{"project": "'"$KEY"'", "title": "Order air", "tags": ["supplies"]}'
done
AIR=$(of 'a["id"]')

say "Two users edit a task: edits of different fields are merged, of the same field refused with both values."
HEADERS=(-H "If-Match: \"task-$AIR-1\"" -H "X-Request-Id: first-$KEY")
call 200 PATCH "/tasks/$AIR" '{"title": "Order much air"}'
HEADERS=(-H "If-Match: \"task-$AIR-1\"")
call 200 PATCH "/tasks/$AIR" '{"priority": "high"}'
HEADERS=(-H "If-Match: \"task-$AIR-1\"")
call 412 PATCH "/tasks/$AIR" '{"title": "Order less air"}'

say "Record why a change is made and for whom. A history shows both."
HEADERS=(-H "X-Reason: 100%25 agreed with the supplier" -H "X-On-Behalf-Of: @ada")
call 200 PATCH "/tasks/$AIR" '{"description": "Two tonnes."}'
call 200 GET "/tasks/$AIR/events"

say "Any write can be tried first."
call 204 DELETE "/projects/$KEY?dry_run=true"

say "Undo the change of the title. The creation of the task cannot be undone, since its priority was"
say "changed later (409). Then undo all changes in the second project, and undo that undo."
call 200 POST /undo '{"request_id": "first-'"$KEY"'"}'
call 409 POST /undo '{"request_id": "order-'"$KEY"'"}'
HEADERS=(-H "X-Request-Id: undo-$KEY")
call 200 POST /undo '{"actor": "me", "since": "2026-01-01T00:00:00Z", "project": "'"$SECOND"'", "on_conflict": "skip"}'
call 200 POST /undo '{"request_id": "undo-'"$KEY"'"}'

say "Read the tenant and change its time zone."
call 200 GET /tenant
call 200 PATCH /tenant '{"time_zone": "Europe/Berlin"}'

say "Offboard a user: Ada takes over, and the name is erased from the events."
call 201 POST /users '{"email": "guest-'"$KEY"'@acme.example", "full_name": "A Guest"}'
GUEST=@$(of 'a["handle"]')
call 201 POST "/projects/$KEY/members" '{"user": "'"$GUEST"'"}'
call 200 POST "/tasks/$KEY-4/assignment" '{"assignee": "'"$GUEST"'"}'
call 200 DELETE "/tasks/$KEY-4/completion?force=true"
call 200 POST "/users/$GUEST/offboarding" '{"hand_over_to": "me"}'
call 200 POST "/users/$GUEST/erasure"

say "Delete the projects of this tour and sign out."
call 204 DELETE "/projects/$KEY"
call 204 DELETE "/projects/$SECOND"
call 204 POST /auth/logout

say "That was the tour. Export and import a whole tenant with:"
echo "  .venv/bin/python manage.py export acme --output acme.jsonl"
echo "  .venv/bin/python manage.py import acme.jsonl --as acme-copy"
