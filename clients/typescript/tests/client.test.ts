// The layer that is written by hand, against answers that a test makes up.

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import { cancelRun, deleteProfile, getRun, listRuns } from "../src/api/index.js";
import { connectFromEnvironment, readToken, retrying, usable } from "../src/connection.js";
import { ProblemError, UnreadableAnswer, call, connect, enqueue, pages, wait } from "../src/index.js";

const TOKEN = "a-token-of-a-test";
const RUN = { run_id: "run_x", workflow: "billing", created_at: "2026-01-01T00:00:00Z" };
const OF_RUN = { path: { run_id: "run_x" } };

function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  const body = { type: "about:blank", title: "No.", status, code, detail: "Why." };
  return Response.json(body, { status, headers });
}

const lost = () => new TypeError("fetch failed");

/** A connection that is answered one after the other, and keeps what was asked. */
function scripted(...answers: (Response | Error)[]) {
  const asked: Request[] = [];
  const pauses: number[] = [];
  const send = async (request: RequestInfo | URL) => {
    assert(request instanceof Request);
    // It can be read each time that it is sent.
    await request.text();
    asked.push(request);
    const answer = answers.shift();
    assert(answer, "asked too often");
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const client = connect({ url: "https://api.example/", token: TOKEN });
  client.setConfig({ fetch: retrying(send, async (pause) => pauses.push(pause)) });
  return { client, asked, pauses };
}

test("a problem is an exception with its code", async () => {
  const { client, asked } = scripted(problem(404, "not_found"));
  const refused = await call(getRun({ client, ...OF_RUN })).catch((error: unknown) => error);
  assert(refused instanceof ProblemError);
  assert.deepEqual([refused.code, refused.status], ["not_found", 404]);
  assert.equal(refused.message, "not_found: Why.");
  assert.equal(asked[0]?.headers.get("authorization"), `Bearer ${TOKEN}`);
  assert.equal(asked[0]?.url, "https://api.example/v1/runs/run_x");
  assert.equal(asked[0]?.redirect, "manual");
});

test("what is not of this API is told apart", async () => {
  for (const answer of [
    new Response("<html>", { headers: { "content-type": "text/html" } }),
    Response.json("text"),
    Response.json([1]),
    Response.json({ message: "Forbidden" }, { status: 403 }),
    new Response(null, { status: 302, headers: { location: "https://elsewhere.example" } }),
  ]) {
    const { client } = scripted(answer);
    await assert.rejects(call(getRun({ client, ...OF_RUN })), UnreadableAnswer);
  }
});

test("an empty answer is an empty object", async () => {
  const { client } = scripted(new Response(null, { status: 204 }));
  assert.deepEqual(await call(deleteProfile({ client, path: { name: "crm" } })), {});
});

test("what changes nothing is sent again", async () => {
  const busy = problem(429, "rate_limited", { "retry-after": "2" });
  const { client, asked, pauses } = scripted(
    lost(),
    problem(503, "unavailable"),
    busy,
    problem(404, "not_found"),
  );
  await assert.rejects(call(getRun({ client, ...OF_RUN })), ProblemError);
  assert.equal(asked.length, 4);
  assert((pauses[2] ?? 0) >= 2_000);
  // Enough is enough.
  const late = scripted(lost(), lost(), lost(), lost());
  await assert.rejects(call(getRun({ client: late.client, ...OF_RUN })), TypeError);
});

test("what may change something twice is sent once", async () => {
  const { client, pauses } = scripted(lost());
  await assert.rejects(call(cancelRun({ client, ...OF_RUN })), TypeError);
  assert.deepEqual(pauses, []);
});

test("a long Retry-After is the caller's to wait for", async () => {
  const { client, pauses } = scripted(problem(429, "rate_limited", { "retry-after": "60" }));
  await assert.rejects(call(getRun({ client, ...OF_RUN })), ProblemError);
  assert.deepEqual(pauses, []);
});

test("a run is enqueued with one key however often it is sent", async () => {
  const run = { workflow: "billing", steps: [] };
  const { client, asked } = scripted(lost(), problem(400, "invalid_request"));
  await assert.rejects(enqueue(client, run), ProblemError);
  const keys = asked.map((request) => request.headers.get("idempotency-key"));
  assert(keys[0] && keys[0] === keys[1], keys.join());
  const mine = scripted(problem(400, "invalid_request"));
  await assert.rejects(enqueue(mine.client, run, "mine"), ProblemError);
  assert.equal(mine.asked[0]?.headers.get("idempotency-key"), "mine");
});

test("pages are one list", async () => {
  const summary = { ...RUN, state: "queued" };
  const { client, asked } = scripted(
    Response.json({ items: [summary, summary], next_cursor: "more" }),
    Response.json({ items: [summary] }),
  );
  const states: string[] = [];
  for await (const run of pages((next) => listRuns({ client, query: { limit: 2, ...next } }))) {
    states.push(run.state);
  }
  assert.deepEqual(states, ["queued", "queued", "queued"]);
  const queries = asked.map((request) => new URL(request.url).search);
  assert.deepEqual(queries, ["?limit=2", "?limit=2&cursor=more"]);
});

test("a wait ends with the run, or with its signal", async () => {
  const states = ["queued", "running", "dead", "running"];
  const { client } = scripted(...states.map((state) => Response.json({ ...RUN, steps: [], state })));
  assert.equal((await wait(client, "run_x")).state, "dead");
  await assert.rejects(wait(client, "run_x", { signal: AbortSignal.timeout(1) }), {
    name: "TimeoutError",
  });
});

test("nothing prints the credential", async () => {
  const { client } = scripted(problem(404, "not_found"));
  const refused = await call(getRun({ client, ...OF_RUN })).catch((error: unknown) => error);
  const printed = inspect([client, client.getConfig(), refused], { depth: 9, showHidden: true });
  assert(!printed.includes(TOKEN), printed);
});

test("plain http goes to this machine only", () => {
  const good = ["https://api.example", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"];
  for (const url of good) assert.equal(usable(`${url}/`), url);
  for (const url of [
    "http://api.example",
    "http://127.0.0.1.example",
    "https://user:word@api.example",
    "https://api.example?x=1",
    "https://api.example#x",
    "ftp://api.example",
    "api.example",
  ]) {
    assert.throws(() => usable(url), url);
  }
});

test("a token comes from a file of its owner", async (context) => {
  const place = await mkdtemp(join(tmpdir(), "sealfleet-"));
  context.after(() => rm(place, { recursive: true }));
  const file = join(place, "token");
  await writeFile(file, `${TOKEN}\n`, { mode: 0o600 });
  assert.equal(await readToken(file), TOKEN);
  delete process.env.SEALFLEET_API_URL;
  await assert.rejects(connectFromEnvironment(), /SEALFLEET_API_URL/);
  process.env.SEALFLEET_API_URL = "https://api.example";
  process.env.SEALFLEET_TOKEN_FILE = file;
  assert.equal((await connectFromEnvironment()).getConfig().baseUrl, "https://api.example");
  await chmod(file, 0o640);
  await assert.rejects(readToken(file), /chmod 600/);
  await chmod(file, 0o600);
  for (const text of ["", "two words", "two\nlines"]) {
    await writeFile(file, text);
    await assert.rejects(readToken(file), /one line/);
  }
});
