#!/usr/bin/env bash
# A tour of TaskFlow with curl, on the demo that `make run` seeds:
#
#     bash docs/tour.sh                          # http://127.0.0.1:8000
#     bash docs/tour.sh http://127.0.0.1:8001
#
# Every step says what it does, shows the call and the answer, and stops where the status is not the
# one written here.
set -euo pipefail
URL=${1:-http://127.0.0.1:8000}
API=$URL/api/v1
TOKEN=
ANSWER=$(mktemp)
trap 'rm -f "$ANSWER"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# call STATUS METHOD PATH [BODY] [CONTENT-TYPE]; HEADERS is sent once
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

# of EXPRESSION: a value of the last answer, as Python names it
of() { python3 -c 'import json, sys; a = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$ANSWER" "$1"; }

say "Sign in as Ada, who administers the first company of the demo."
call 200 POST /auth/login '{"email": "ada@acme.example", "password": "taskflow-demo-2026"}'
TOKEN=$(of 'a["token"]')
ADA=$(of 'a["user"]["id"]')

say "A project with its first tasks, all at once: subtasks, tags by name, blockers by a local ref."
KEY=$(python3 -c 'import random; print("T" + "".join(random.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=6)))')
call 201 POST /projects '{"name": "Moon base", "key": "'"$KEY"'", "tasks": [
  {"title": "Choose a crater", "ref": "crater", "priority": "high", "tags": ["site"]},
  {"title": "Build the dome", "blocked_by": ["crater"], "tags": ["building"],
   "subtasks": [{"title": "Order glass"}, {"title": "Seal the lock"}]}]}'
PROJECT=$(of 'a["id"]')

say "Any fault in one of them is named by its place, and nothing is made."
call 422 POST /projects '{"name": "Bad", "tasks": [{"title": "fine"}, {"title": ""}]}'

say "What can be begun now? Open, with no open blocker."
call 200 GET "/tasks?project=$KEY&ready=true&sort=-priority,number"

say "A repeated filter is or, a filter whose name ends in _not excludes."
call 200 GET "/tasks?project=$KEY&tag=site&tag=building&status_not=done"

say "The dome cannot be finished while work on it is open; the answer lists that work."
call 409 POST "/tasks/$KEY-2/completion"
call 200 POST "/tasks/$KEY-1/completion"
call 200 POST "/tasks/$KEY-2/completion?force=true"
call 200 DELETE "/tasks/$KEY-2/completion"

say "A circle of blockers is refused."
call 200 GET "/tasks/$KEY-2"
DOME=$(of 'a["id"]')
call 409 PATCH "/tasks/$KEY-1" '{"blocked_by": ['"$DOME"']}'

say "Comments are kept as written."
call 201 POST /comments '{"task_id": '"$DOME"', "body": "Three layers of **glass**, says the lab."}'
call 200 GET "/comments?task=$KEY-2"

say "Pages are drafts until they are published."
call 201 POST /pages '{"project_id": '"$PROJECT"', "title": "Airlock drill", "body": "1. Close the inner door."}'
PAGE=$(of 'a["id"]')
call 200 POST "/pages/$PAGE/publication"
call 200 GET "/pages?project=$KEY&is_published=true"

say "Search finds words in tasks, comments and pages, and keys."
call 200 GET "/search?q=glass"
call 200 GET "/search?q=$KEY-2&kind=task"

say "Your own id makes a task findable from your side: put it as often as you like."
call 201 PUT "/projects/$KEY/tasks/by-ref/erp-77" '{"title": "Pay for the glass"}'
call 200 PUT "/projects/$KEY/tasks/by-ref/erp-77" '{"title": "Pay for the glass", "priority": "high"}'

say "Assign it, and take it back."
call 200 POST "/tasks/$KEY-5/assignment" '{"assignee_id": '"$ADA"'}'
call 200 DELETE "/tasks/$KEY-5/assignment"

say "Up to 500 operations in one request: all of them, or none."
call 200 POST /tasks/bulk '{"operations": [
  {"op": "create", "data": {"project_id": '"$PROJECT"', "title": "Test the seals", "tags": ["safety"]}},
  {"op": "assign", "id": "'"$KEY"'-3", "data": {"assignee_id": '"$ADA"'}},
  {"op": "tag", "where": {"project": ["'"$KEY"'"], "status": ["todo"]}, "data": {"tags": ["base"]}}]}'
call 404 POST /tasks/bulk '{"operations": [
  {"op": "complete", "id": "'"$KEY"'-3"}, {"op": "delete", "id": "'"$KEY"'-99"}]}'

say "Or what can be done is done, and each result says how it went."
call 200 POST /tasks/bulk '{"on_error": "continue", "operations": [
  {"op": "complete", "id": "'"$KEY"'-3"}, {"op": "delete", "id": "'"$KEY"'-99"}]}'

say "Move a task to another project. It gets a new number; the old key still finds it."
call 201 POST /projects '{"name": "Moon base, phase 2"}'
SECOND=$(of 'a["id"]')
call 200 POST "/tasks/$KEY-5/move" '{"project_id": '"$SECOND"'}'
call 200 GET "/tasks/$KEY-5"

say "What happened to the dome, in sentences and in data."
call 200 GET "/tasks/$KEY-2/events"
call 200 GET "/projects/$KEY/events?verb=task.created&limit=2"

say "Out as a sheet, and back in. A dry run names each bad line."
call 200 GET "/projects/$KEY/tasks.csv?status_not=done"
call 422 POST "/projects/$KEY/tasks.csv?dry_run=true" $'title,priority\nPaint it,low\nLight it,urgent\n' text/csv
call 200 POST "/projects/$KEY/tasks.csv" $'title,priority\nPaint it,low\nLight it,high\n' text/csv

say "Finish all that is left in the project with one call."
call 200 POST "/projects/$KEY/completion"

say "What is deleted lies in the trash, and comes back with what went along with it."
call 204 DELETE "/tasks/$KEY-2"
call 404 GET "/tasks/$KEY-3"
call 200 GET "/trash?limit=1"
call 200 POST "/trash/task/$DOME/restoration"
call 200 GET "/tasks/$KEY-3"

say "A write with an Idempotency-Key happens once, however often it is sent."
for _ in 1 2; do
  HEADERS=(-H "Idempotency-Key: order-$KEY" -H "X-Request-Id: order-$KEY")
  call 201 POST /tasks '{"project_id": '"$PROJECT"', "title": "Order air", "tags": ["supplies"]}'
done
AIR=$(of 'a["id"]')

say "Two edit the same task: other fields merge, the same field is refused with both values."
HEADERS=(-H "If-Match: \"task-$AIR-1\"" -H "X-Request-Id: first-$KEY")
call 200 PATCH "/tasks/$AIR" '{"title": "Order much air"}'
HEADERS=(-H "If-Match: \"task-$AIR-1\"")
call 200 PATCH "/tasks/$AIR" '{"priority": "high"}'
HEADERS=(-H "If-Match: \"task-$AIR-1\"")
call 412 PATCH "/tasks/$AIR" '{"title": "Order less air"}'

say "Any write can be tried first."
call 200 DELETE "/projects/$KEY?dry_run=true"

say "And taken back: the title. The task itself is kept, as its priority was changed since (409). Then all"
say "that was done in the second project, and that undo is taken back too."
call 200 POST /undo '{"request_id": "first-'"$KEY"'"}'
call 409 POST /undo '{"request_id": "order-'"$KEY"'"}'
HEADERS=(-H "X-Request-Id: undo-$KEY")
call 200 POST /undo '{"actor": "me", "since": "2026-01-01T00:00:00Z", "project": "'"$SECOND"'", "on_conflict": "skip"}'
call 200 POST /undo '{"request_id": "undo-'"$KEY"'"}'

say "The tenant has a name and a time zone; X-Tenant or a subdomain must agree with the token."
call 200 GET /tenant
call 200 PATCH /tenant '{"time_zone": "Europe/Berlin"}'

say "Somebody leaves: what is his goes to Ada, and his name is erased from the log."
call 201 POST /users '{"email": "guest-'"$KEY"'@acme.example", "full_name": "A Guest"}'
GUEST=$(of 'a["id"]')
call 201 POST "/projects/$KEY/members" '{"user_id": '"$GUEST"'}'
call 200 POST "/tasks/$KEY-4/assignment" '{"assignee_id": '"$GUEST"'}'
call 200 DELETE "/tasks/$KEY-4/completion"
call 200 POST "/users/$GUEST/offboarding" '{"hand_over_to": '"$ADA"'}'
call 200 POST "/users/$GUEST/erasure"

say "To the trash with the projects of this tour, and out."
call 204 DELETE "/projects/$KEY"
call 204 DELETE "/projects/$SECOND"
call 204 POST /auth/logout

say "That was the tour. Whole tenants come and go as files:"
echo "  .venv/bin/python manage.py export acme --output acme.jsonl"
echo "  .venv/bin/python manage.py import acme.jsonl --as acme-copy"
