// Sums of usage, and how they become text.

import type { Schemas } from "./api";
import { many } from "./text";

export type Row = Schemas["UsageRow"];
type Sums = Schemas["UsageSums"];

/** What all of these rows have used. A cost is absent if nothing has a price. */
export function total(rows: Row[]): Sums {
  const none = { input_tokens: 0, cached_input_tokens: 0, output_tokens: 0 };
  const sum: Sums = { attempts: 0, wall_ms: 0, tokens: none, tokens_of_agents: none, tokens_of_proxies: none };
  return rows.reduce((all, { used }) => added(all as unknown as Tree, used as unknown as Tree) as unknown as Sums, sum);
}

interface Tree {
  [name: string]: number | Tree;
}

function added(a: Tree, b: Tree): Tree {
  const sum: Tree = { ...a };
  for (const [name, more] of Object.entries(b)) {
    const before = sum[name];
    sum[name] = typeof more === "number" ? more + (typeof before === "number" ? before : 0) : added(typeof before === "object" ? before : {}, more);
  }
  return sum;
}

/** Rows by a name of theirs, the dearest first. */
export function by(rows: Row[], name: (row: Row) => string): { name: string; used: Sums }[] {
  const found = new Map<string, Row[]>();
  for (const row of rows) found.set(name(row), [...(found.get(name(row)) ?? []), row]);
  return [...found]
    .map(([one, of]) => ({ name: one, used: total(of) }))
    .sort((a, b) => (b.used.cost_usd ?? 0) - (a.used.cost_usd ?? 0) || b.used.attempts - a.used.attempts || a.name.localeCompare(b.name));
}

/** The UTC days from one to the other, both included; none if the second is before the first. */
export function days(from: string, to: string): string[] {
  const found: string[] = [];
  for (let at = Date.parse(from); at <= Date.parse(to) && found.length < 92; at += 86_400_000) found.push(day(at));
  return found;
}

/** The UTC day of a moment, `2026-01-31`. */
export function day(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** `$1,204.50`; small sums with two digits that say something, `$0.0042`. */
export function dollars(usd: number | undefined): string {
  if (usd === undefined) return "–";
  const small = usd > 0 && usd < 0.1;
  return usd.toLocaleString("en", { style: "currency", currency: "USD", ...(small && { maximumSignificantDigits: 2 }) });
}

/** What it cost, as far as that is known: `?` for what is not. */
export function cost(used: Sums): string {
  const lacks = (used.unpriced ?? 0) + (used.untold ?? 0) > 0;
  if (used.cost_usd === undefined) return lacks ? "?" : "–";
  return lacks ? `${dollars(used.cost_usd)} + ?` : dollars(used.cost_usd);
}

/** What these sums lack or estimate, a sentence each. A bill must not hide it. */
export function caveats(used: Sums): string[] {
  return [
    used.unpriced ? `The cost lacks ${many(used.unpriced, "use")} of models that have no price.` : [],
    used.untold ? `The cost lacks ${many(used.untold, "attempt")} of agents of which nobody told what they used.` : [],
    used.estimated_attempts ? `The time of ${many(used.estimated_attempts, "attempt")} is an estimate: they were ended from outside.` : [],
  ].flat();
}
