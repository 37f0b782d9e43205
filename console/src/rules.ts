// From refused connections to the rules that would allow them.

import type { Schemas } from "./api";

export interface Denied {
  host: string;
  port: number;
  reason: Schemas["EgressDenied"];
  count: number;
  /** The steps that tried, as `RUN STEP`. */
  steps: { run: string; step: string }[];
}

/** What entries tell of refused connections, most often refused first. */
export function denied(entries: Schemas["AuditEntry"][]): Denied[] {
  const found = new Map<string, Denied>();
  for (const entry of entries) {
    for (const event of entry.events) {
      if (event.type !== "egress.denied") continue;
      for (const { host, port, reason, count } of event.rows ?? []) {
        const name = `${reason} ${host}:${port}`;
        const row = found.get(name) ?? { host, port, reason, count: 0, steps: [] };
        row.count += count;
        const { step_id: step } = event;
        const run = entry.run_id ?? "";
        if (!row.steps.some((one) => one.run === run && one.step === step)) row.steps.push({ run, step });
        found.set(name, row);
      }
    }
  }
  return [...found.values()].sort((a, b) => b.count - a.count || a.host.localeCompare(b.host));
}

/** Connections that were refused beyond those that rows tell of. */
export function others(entries: Schemas["AuditEntry"][]): number {
  const counts = entries.flatMap((entry) => entry.events.map((event) => (event.type === "egress.denied" ? (event.others ?? 0) : 0)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** The rules that would allow what no rule allowed, as a profile's YAML has them. */
export function proposed(rows: Denied[]): string {
  const rules = rows.filter((row) => row.reason === "no_rule");
  if (rules.length === 0) return "";
  const texts = rules.map((row) => `    - host: ${JSON.stringify(row.host)}${row.port === 443 ? "" : `\n      port: ${row.port}`}`);
  return `egress:\n  allow:\n${texts.join("\n")}\n`;
}
