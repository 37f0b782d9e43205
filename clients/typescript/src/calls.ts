/** Calls of the generated functions, with problems as exceptions. */
import { setTimeout as sleep } from "node:timers/promises";

import type { Client } from "./api/client/index.js";
import { enqueueRun, getRun, type EnqueueRun, type Problem, type RunView } from "./api/index.js";
import { ProblemError, UnreadableAnswer } from "./errors.js";

const FIRST_LOOK = 50;
const LAST_LOOK = 2_000;

/** What a generated function answers. */
export type Result<Data> = Promise<
  ({ data: Data; error: undefined } | { data: undefined; error: unknown }) & { response: Response }
>;

/** One page of a list. */
export interface Page<Item> {
  items: Item[];
  next_cursor?: string;
}

/**
 * The answer of an operation: `await call(getRun({ client, path: { run_id } }))`.
 *
 * @throws {ProblemError} The API refuses.
 * @throws {UnreadableAnswer} Something else answered.
 * @throws {TypeError} Nothing answered. The request may have been carried out.
 */
export async function call<Data>(result: Result<Data>): Promise<Data> {
  const { data, error, response } = await result.catch((cause: unknown) => {
    throw new UnreadableAnswer("the answer cannot be read; is the address right?", { cause });
  });
  if (response === undefined) throw error;
  if (error !== undefined || !response.ok) {
    if (isProblem(error)) throw new ProblemError(error);
    throw new UnreadableAnswer(`HTTP ${response.status} without a problem; is the address right?`);
  }
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    throw new UnreadableAnswer("the answer is no object; is the address right?");
  }
  return data;
}

function isProblem(error: unknown): error is Problem {
  if (typeof error !== "object" || error === null) return false;
  return "code" in error && typeof error.code === "string" && "status" in error && "detail" in error;
}

/**
 * Enqueues a run once, also if the answer is lost on the way and the request is sent again.
 *
 * Give a key of your own if your program may be started again for the same piece of work.
 */
export function enqueue(
  client: Client,
  run: EnqueueRun,
  idempotencyKey: string = crypto.randomUUID(),
): Promise<RunView> {
  const headers = { "Idempotency-Key": idempotencyKey };
  return call(enqueueRun({ client, body: run, headers }));
}

/**
 * The run, as soon as it has ended; look at its `state`.
 *
 * @throws {DOMException} `AbortError` or `TimeoutError`, as `signal` says. The run goes on.
 */
export async function wait(
  client: Client,
  runId: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<RunView> {
  const ever = signal ?? new AbortController().signal;
  for (let pause = FIRST_LOOK; ; pause = Math.min(pause * 1.5, LAST_LOOK)) {
    ever.throwIfAborted();
    const run = await call(getRun({ client, path: { run_id: runId }, signal: ever }));
    if (run.state !== "queued" && run.state !== "running") return run;
    // Its own error says less than the signal's.
    await sleep(pause, undefined, { signal: ever }).catch(() => {});
  }
}

/**
 * The items of all pages of a list, each page asked for when it is needed:
 * `pages((next) => listRuns({ client, query: { limit: 50, ...next } }))`.
 */
export async function* pages<Item>(
  list: (next: { cursor?: string }) => Result<Page<Item>>,
): AsyncGenerator<Item> {
  let next: { cursor?: string } = {};
  do {
    const page = await call(list(next));
    yield* page.items;
    next = page.next_cursor === undefined ? {} : { cursor: page.next_cursor };
  } while (next.cursor !== undefined);
}
