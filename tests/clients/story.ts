// A story that the generated TypeScript client runs against a stack.
//
// The environment names the API, an operator's token and a project whose queues are deployed.
// Prints the id of the run that it enqueued and cancelled.

import assert from "node:assert/strict";
import { env } from "node:process";

import createClient from "openapi-fetch";

import type { components, paths } from "./build/api.js";

type Problem = components["schemas"]["Problem"];
type Code = components["schemas"]["Code"];

function client(token: string | undefined) {
  assert(env.SEALFLEET_API_URL && token);
  const headers = { authorization: `Bearer ${token}` };
  return createClient<paths>({ baseUrl: env.SEALFLEET_API_URL, headers });
}

/** The answer, which has this status. */
function answered<T>(result: { data?: T; error?: unknown; response: Response }, status: number): T {
  assert.equal(result.response.status, status, JSON.stringify(result.error));
  assert(result.data);
  return result.data;
}

/** The problem, which has this code. */
function refused(
  result: { error?: Problem | { message: string }; response: Response },
  code: Code,
): Problem {
  const { error, response } = result;
  assert(error && "code" in error, `answered ${response.status}`);
  assert.equal(error.code, code);
  assert.equal(error.status, response.status);
  return error;
}

async function story(): Promise<string> {
  const project = env.SEALFLEET_PROJECT;
  assert(project);
  const operator = client(env.SEALFLEET_OPERATOR_TOKEN);

  const pools = { workers: { kind: "pull" } } as const;
  const created = await operator.POST("/v1/projects", { body: { project, pools } });
  assert.equal(answered(created, 201).pools.workers?.kind, "pull");
  refused(await operator.POST("/v1/projects", { body: { project, pools } }), "already_exists");

  const made = await operator.POST("/v1/tokens", { body: { role: "admin", project } });
  const admin = client(answered(made, 201).token);

  const profile = { name: "crm", env: { REGION: "eu" } };
  assert.equal(answered(await admin.POST("/v1/profiles", { body: profile }), 201).version, 1);
  const replaced = {
    params: { path: { name: "crm" }, header: { "If-Match": '"1"' } },
    body: { env: { REGION: "us" } },
  };
  assert.equal(answered(await admin.PUT("/v1/profiles/{name}", replaced), 200).version, 2);
  refused(await admin.PUT("/v1/profiles/{name}", replaced), "version_conflict");

  const step = { id: "main", pool: "workers", mode: "bare", command: ["/bin/true"] } as const;
  const wanted = {
    params: { header: { "Idempotency-Key": "once" } },
    body: { workflow: "billing", profile: "crm", steps: [{ ...step, command: [...step.command] }] },
  };
  const run_id = answered(await admin.POST("/v1/runs", wanted), 201).run_id;
  assert.equal(answered(await admin.POST("/v1/runs", wanted), 200).run_id, run_id);
  const ours = { params: { path: { run_id } } };
  const read = answered(await admin.GET("/v1/runs/{run_id}", ours), 200);
  assert.deepEqual([read.state, read.steps[0]?.state], ["queued", "queued"]);

  const steps = wanted.body.steps.map((step) => ({ ...step, pool: "nowhere" }));
  const nowhere = await admin.POST("/v1/runs", { body: { workflow: "billing", steps } });
  assert.equal(refused(nowhere, "invalid_request").field, "steps[0].pool");
  const other = { params: { path: { run_id: "run_0198c0de-0000-7000-8000-00000000000a" } } };
  refused(await admin.GET("/v1/runs/{run_id}", other), "not_found");
  refused(await client("none").GET("/v1/runs/{run_id}", ours), "unauthenticated");

  const cancelled = answered(await admin.POST("/v1/runs/{run_id}/cancel", ours), 200);
  assert.equal(cancelled.state, "aborted");
  assert.equal(cancelled.steps[0]?.aborted?.kind, "cancelled");

  const trail = await admin.GET("/v1/audit", { params: { query: { run: run_id } } });
  const events = answered(trail, 200).items.flatMap((entry) => entry.events);
  const enqueued = events.find((event) => event.type === "run.enqueued");
  assert.deepEqual(enqueued?.steps, ["main"]);
  return run_id;
}

console.log(await story());
