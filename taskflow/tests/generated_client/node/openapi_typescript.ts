// What a client does first, with the types of openapi-typescript and with openapi-fetch.
// Run by nodejs.py: `node openapi_typescript.js http://127.0.0.1:8000`.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Task = components["schemas"]["TaskResponse"];
const isTask = (value: Task | undefined): value is Task => value !== undefined && "key" in value;

// The media types of complete objects and of problems. Without them, openapi-fetch would add the types
// of shorter responses, which come only to requests that ask for them.
type Media = "application/json" | "application/problem+json";
const client = createClient<paths, Media>({ baseUrl: process.argv[2] ?? "" });

// Sign in, and send the token with every request.
const login = await client.POST("/api/v1/auth/login", {
  body: { email: "ada@acme.example", password: "taskflow-demo-2026" },
});
assert(login.data, JSON.stringify(login.error));
assert.equal(login.data.user.kind, "human");
const token = login.data.token;
client.use({ onRequest: ({ request }) => request.headers.set("Authorization", `Bearer ${token}`) });

// List with filters: one that is repeated, one by `me`, and an order.
const open = await client.GET("/api/v1/tasks", {
  params: { query: { project: ["WEB"], status: ["todo", "in_progress"], sort: "-priority", limit: 2 } },
});
assert(open.data && open.data.data.length === 2 && open.data.has_more);
assert(open.data.data.every((task) => !task.completed));

// Create with a key, a handle and `me`. The same Idempotency-Key creates one task.
const create = () =>
  client.POST("/api/v1/tasks", {
    params: { header: { "Idempotency-Key": "openapi-typescript" } },
    body: { project: "WEB", title: "Write a generated client", assignee: "me", tags: ["docs"] },
  });
const [first, again] = [await create(), await create()];
const task = first.data;
assert(isTask(task) && isTask(again.data), JSON.stringify(first.error));
assert.equal(again.data.id, task.id);
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");
assert.equal(task.assignee?.handle, "ada");
const etag = first.response.headers.get("ETag") ?? "";

// Update the version that was read. A second change of that version conflicts.
const update = (title: string) =>
  client.PATCH("/api/v1/tasks/{task_id}", {
    params: { path: { task_id: task.key }, header: { "If-Match": etag } },
    body: { title },
  });
assert.equal((await update("Publish a generated client")).response.status, 200);
const conflict = await update("Delete a generated client");
assert.equal(conflict.error?.status, 412);
assert.equal(conflict.error?.errors?.[0]?.theirs, "Publish a generated client");

// Try a change without making it.
const tried = await client.POST("/api/v1/tasks/{task_id}/completion", {
  params: { path: { task_id: task.id }, query: { dry_run: true } },
});
assert(tried.data?.status === "done" && tried.response.headers.get("Dry-Run") === "true");

// Several operations at once.
const bulk = await client.POST("/api/v1/tasks/bulk", {
  body: {
    operations: [
      { op: "assign", id: task.key, data: { assignee: "@scout" } },
      { op: "complete", where: { q: "generated client" } },
    ],
  },
});
assert(bulk.data && "succeeded" in bulk.data && bulk.data.skipped === 0, JSON.stringify(bulk.error));

// Search, delete, and read a problem document.
const found = await client.GET("/api/v1/search", { params: { query: { q: "generated client" } } });
assert(found.data?.data.some((result) => result.id === task.id && result.kind === "task"));
const path = { params: { path: { task_id: task.id } } };
assert.equal((await client.DELETE("/api/v1/tasks/{task_id}", path)).response.status, 204);
const gone = await client.GET("/api/v1/tasks/{task_id}", path);
assert.equal(gone.error?.code, "not_found");
const refused = await client.POST("/api/v1/tasks", { body: { project: "NONE", title: "x" } });
assert.equal(refused.error?.errors?.[0]?.pointer, "#/project");
console.log("openapi-typescript: the program has run");
