// A story that the client runs against a stack (tests/scenarios/clients.rs).
//
// The environment names the API, an operator's token and a project whose queues are deployed.
// Prints the id of the run that it enqueued and cancelled.

import assert from "node:assert/strict";
import { env } from "node:process";

import {
  cancelRun,
  createProfile,
  createProject,
  createToken,
  getRun,
  listAuditEntries,
  listRuns,
  putProfile,
  type Code,
  type EnqueueRun,
  type Event,
  type Problem,
} from "../src/api/index.js";
import { ProblemError, call, connect, enqueue, pages, wait } from "../src/index.js";

function client(token: string | undefined) {
  assert(env.SEALFLEET_API_URL && token);
  return connect({ url: env.SEALFLEET_API_URL, token });
}

/** The problem, which has this code. */
async function refused(answer: Promise<unknown>, code: Code): Promise<Problem> {
  const error = await answer.catch((error: unknown) => error);
  assert(error instanceof ProblemError, JSON.stringify(error));
  assert.equal(error.code, code);
  return error.problem;
}

async function story(): Promise<string> {
  const project = env.SEALFLEET_PROJECT;
  assert(project);
  const operator = client(env.SEALFLEET_OPERATOR_TOKEN);

  const asked = { client: operator, body: { project, pools: { workers: { kind: "pull" } } } } as const;
  assert.equal((await call(createProject(asked))).pools.workers?.kind, "pull");
  await refused(call(createProject(asked)), "already_exists");

  const made = await call(createToken({ client: operator, body: { role: "admin", project } }));
  const admin = client(made.token);

  const profile = { name: "crm", env: { REGION: "eu" } };
  assert.equal((await call(createProfile({ client: admin, body: profile }))).version, 1);
  const replace = {
    client: admin,
    path: { name: "crm" },
    headers: { "If-Match": '"1"' },
    body: { env: { REGION: "us" } },
  };
  assert.equal((await call(putProfile(replace))).version, 2);
  await refused(call(putProfile(replace)), "version_conflict");

  const step = { id: "main", pool: "workers", mode: "bare", command: ["/bin/true"] } as const;
  const wanted: EnqueueRun = {
    workflow: "billing",
    profile: "crm",
    steps: [{ ...step, command: [...step.command] }],
  };
  const { run_id } = await enqueue(admin, wanted, "once");
  assert.equal((await enqueue(admin, wanted, "once")).run_id, run_id);
  const ours = { client: admin, path: { run_id } };
  const read = await call(getRun(ours));
  assert.deepEqual([read.state, read.steps[0]?.state], ["queued", "queued"]);
  // No worker is there.
  const late = wait(admin, run_id, { signal: AbortSignal.timeout(200) });
  await assert.rejects(late, { name: "TimeoutError" });

  const steps = wanted.steps.map((step) => ({ ...step, pool: "nowhere" }));
  const nowhere = await refused(enqueue(admin, { workflow: "billing", steps }), "invalid_request");
  assert.equal(nowhere.field, "steps[0].pool");
  const foreign = { run_id: "run_0198c0de-0000-7000-8000-00000000000a" };
  await refused(call(getRun({ client: admin, path: foreign })), "not_found");
  await refused(call(getRun({ ...ours, client: client("none") })), "unauthenticated");

  const other = await enqueue(admin, wanted);
  assert.notEqual(other.run_id, run_id);
  for (const one of [other.run_id, run_id]) {
    const cancelled = await call(cancelRun({ client: admin, path: { run_id: one } }));
    assert.equal(cancelled.steps[0]?.aborted?.kind, "cancelled");
  }
  assert.equal((await wait(admin, run_id, { signal: AbortSignal.timeout(10_000) })).state, "aborted");

  // One run a page.
  const listed = new Set<string>();
  for await (const run of pages((next) => listRuns({ client: admin, query: { limit: 1, ...next } }))) {
    listed.add(run.run_id);
  }
  assert.deepEqual(listed, new Set([run_id, other.run_id]));
  const events: Event[] = [];
  const trail = pages((next) => listAuditEntries({ client: admin, query: { run: run_id, ...next } }));
  for await (const entry of trail) events.push(...entry.events);
  const enqueued = events.find((event) => event.type === "run.enqueued");
  assert.deepEqual(enqueued?.steps, ["main"]);
  return run_id;
}

console.log(await story());
