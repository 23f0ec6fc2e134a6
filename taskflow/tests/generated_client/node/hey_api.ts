// What a client does first, with the functions that @hey-api/openapi-ts writes.
// Run by nodejs.py: `node hey_api.js http://127.0.0.1:8000`.
import assert from "node:assert/strict";
import { client } from "./hey/client.gen.js";
import {
  bulkEditTasks,
  completeTask,
  createTask,
  deleteTask,
  getTask,
  listTasks,
  login,
  search,
  updateTask,
} from "./hey/sdk.gen.js";
import type { TaskResponse } from "./hey/types.gen.js";

const isTask = (value: TaskResponse | undefined): value is TaskResponse =>
  value !== undefined && "key" in value;

// Sign in, and send the token with every request.
client.setConfig({ baseUrl: process.argv[2] ?? "" });
const signedIn = await login({
  body: { email: "ada@acme.example", password: "taskflow-demo-2026" },
});
assert(signedIn.data, JSON.stringify(signedIn.error));
assert.equal(signedIn.data.user.kind, "human");
const token = signedIn.data.token;
client.setConfig({ auth: () => token });

// List with filters: one that is repeated, one by key, and an order.
const open = await listTasks({
  query: { project: ["WEB"], status: ["todo", "in_progress"], sort: "-priority", limit: 2 },
});
assert(open.data && open.data.data.length === 2 && open.data.has_more);
assert(open.data.data.every((task) => !task.completed));

// Create with a key, a handle and `me`. The same Idempotency-Key creates one task.
const create = () =>
  createTask({
    headers: { "Idempotency-Key": "hey-api" },
    body: { project: "WEB", title: "Write a typed client", assignee: "me", tags: ["docs"] },
  });
const [first, again] = [await create(), await create()];
const task = first.data;
assert(isTask(task) && isTask(again.data), JSON.stringify(first.error));
assert.equal(again.data.id, task.id);
assert.equal(again.response?.headers.get("Idempotency-Replayed"), "true");
assert.equal(task.assignee?.handle, "ada");
const etag = first.response?.headers.get("ETag") ?? "";

// Update the version that was read. A second change of that version conflicts.
const update = (title: string) =>
  updateTask({ path: { task_id: task.key }, headers: { "If-Match": etag }, body: { title } });
assert.equal((await update("Publish a typed client")).response?.status, 200);
const conflict = await update("Delete a typed client");
assert.equal(conflict.error?.status, 412);
assert.equal(conflict.error?.errors?.[0]?.theirs, "Publish a typed client");

// Try a change without making it.
const tried = await completeTask({ path: { task_id: task.id }, query: { dry_run: true } });
assert(tried.data?.status === "done" && tried.response?.headers.get("Dry-Run") === "true");

// Several operations at once.
const bulk = await bulkEditTasks({
  body: {
    operations: [
      { op: "assign", id: task.key, data: { assignee: "@scout" } },
      { op: "complete", where: { q: "typed client" } },
    ],
  },
});
assert(bulk.data && "succeeded" in bulk.data && bulk.data.skipped === 0, JSON.stringify(bulk.error));

// Search, delete, and read a problem document.
const found = await search({ query: { q: "typed client" } });
assert(found.data?.data.some((result) => result.id === task.id && result.kind === "task"));
const path = { task_id: task.id };
assert.equal((await deleteTask({ path })).response?.status, 204);
assert.equal((await getTask({ path })).error?.code, "not_found");
const refused = await createTask({ body: { project: "NONE", title: "x" } });
assert.equal(refused.error?.errors?.[0]?.pointer, "#/project");
console.log("hey-api: the program has run");
