// Stopping everything of a project, as `sealfleet contain` does it: what protects most, first.
//
// Each is a request of its own, and they are one containment: all their entries in the trail carry
// its id. Doing it again does what is left, so it can be repeated after a failure in the middle.

import { all, answered, type Api, Refused, type Schemas } from "./api";

/** How often it looks for what came up meanwhile. */
const ROUNDS = 10;
/** Keys of one revocation. */
const KEYS = 20;
/** Items of a list that are read. */
const MOST = 10_000;

/** What there is to stop. */
export interface Open {
  keys: Schemas["ProfileKey"][];
  workers: Schemas["WorkerSummary"][];
  enrolment_keys: string[];
  runs: string[];
  tokens: string[];
}

/** How much of each. */
export type Counts = Record<keyof Open, number>;

export const NOTHING: Counts = { keys: 0, workers: 0, enrolment_keys: 0, runs: 0, tokens: 0 };

/** All that a project can still work with. The token of `actor` is not among it. */
export async function open(api: Api, actor: string): Promise<Open> {
  const profiles = await all(MOST, (cursor) => answered(api.GET("/v1/profiles", { params: { query: { limit: 100, ...cursor } } })));
  const revoked = await all(MOST, (cursor) =>
    answered(api.GET("/v1/revocations", { params: { query: { state: "active", limit: 100, ...cursor } } })),
  );
  const closed = new Set(revoked.items.filter((one) => one.hard).map((one) => `${one.profile}/${one.key}`));
  const keys = profiles.items
    .flatMap((profile) => Object.keys(profile.secrets ?? {}).map((key) => ({ profile: profile.name, key })))
    .filter(({ profile, key }) => !closed.has(`${profile}/${key}`));
  const workers = await all(MOST, (cursor) => answered(api.GET("/v1/workers", { params: { query: { limit: 100, ...cursor } } })));
  const enrolment = await all(MOST, (cursor) => answered(api.GET("/v1/enrolment-keys", { params: { query: { limit: 100, ...cursor } } })));
  const runs: string[] = [];
  for (const state of ["queued", "running"] as const) {
    const found = await all(MOST, (cursor) => answered(api.GET("/v1/runs", { params: { query: { state, limit: 100, ...cursor } } })));
    runs.push(...found.items.map((run) => run.run_id));
  }
  const tokens = await all(MOST, (cursor) => answered(api.GET("/v1/tokens", { params: { query: { limit: 100, ...cursor } } })));
  const now = Date.now();
  const lives = (one: { revoked_at?: string | null; expires_at: string }): boolean => !one.revoked_at && Date.parse(one.expires_at) > now;
  return {
    keys,
    workers: workers.items.filter((worker) => ["pending", "approved"].includes(worker.status)),
    enrolment_keys: enrolment.items.filter(lives).map((key) => key.enrolment_key_id),
    runs,
    tokens: tokens.items.filter(lives).map((token) => token.token_id).filter((id) => actor !== `token:${id}`),
  };
}

export function counts(of: Open): Counts {
  const { keys, workers, enrolment_keys, runs, tokens } = of;
  return { keys: keys.length, workers: workers.length, enrolment_keys: enrolment_keys.length, runs: runs.length, tokens: tokens.length };
}

/** The id of a new containment: `con_` and a UUID of version 7 (RFC 9562, section 5.7). */
export function newId(now: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let at = 0; at < 6; at += 1) bytes[at] = Math.floor(now / 2 ** (8 * (5 - at))) % 256;
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `con_${[hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")}`;
}

/** What is asked for: whose token stays, why, and whether all others are revoked. */
export interface Order {
  id: string;
  actor: string;
  reason: string;
  tokens: boolean;
}

/** Stops it all, and says after each part how much has been stopped. */
export async function contain(api: Api, { id, actor, reason, tokens }: Order, said: (so_far: Counts) => void): Promise<Counts> {
  const header = { "Sealfleet-Containment": id };
  const done = { ...NOTHING };
  for (let round = 0; round < ROUNDS; round += 1) {
    const found = await open(api, actor);
    const before = JSON.stringify(done);
    for (let at = 0; at < found.keys.length; at += KEYS) {
      const keys = found.keys.slice(at, at + KEYS);
      await answered(api.POST("/v1/revocations", { params: { header }, body: { keys, hard: true, reason } }));
      done.keys += keys.length;
      said({ ...done });
    }
    const each = async <T>(of: keyof Counts, items: T[], stop: (item: T) => Promise<unknown>): Promise<void> => {
      for (const item of items) {
        try {
          await stop(item);
          done[of] += 1;
        } catch (failure) {
          // What is gone or over meanwhile needs nothing more.
          if (!(failure instanceof Refused && [404, 409].includes(failure.status))) throw failure;
        }
      }
      said({ ...done });
    };
    await each("workers", found.workers, (worker) => stopped(api, header, worker));
    await each("enrolment_keys", found.enrolment_keys, (enrolment_key_id) =>
      answered(api.DELETE("/v1/enrolment-keys/{enrolment_key_id}", { params: { header, path: { enrolment_key_id } } })),
    );
    if (tokens) {
      await each("tokens", found.tokens, (token_id) => answered(api.DELETE("/v1/tokens/{token_id}", { params: { header, path: { token_id } } })));
    }
    await each("runs", found.runs, (run_id) => answered(api.POST("/v1/runs/{run_id}/cancel", { params: { header, path: { run_id } } })));
    if (JSON.stringify(done) === before) return done;
  }
  throw new Error("New work keeps coming: revoke the tokens that enqueue it as well, and try again.");
}

/** Revokes a worker; drains one that stands for a Fargate pool, which cannot be revoked. */
async function stopped(api: Api, header: { "Sealfleet-Containment": string }, worker: Schemas["WorkerSummary"]): Promise<void> {
  const path = { params: { header, path: { worker_id: worker.worker_id } } };
  try {
    await answered(api.POST("/v1/workers/{worker_id}/revoke", path));
  } catch (failure) {
    if (!(failure instanceof Refused && failure.status === 409) || worker.draining_since) throw failure;
    await answered(api.POST("/v1/workers/{worker_id}/drain", path));
  }
}
