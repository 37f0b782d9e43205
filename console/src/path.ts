// The path of a credential: from its reference to the end of the sandbox that got it, as the audit
// trail tells it. `sealfleet audit path` prints the same lines (cli/src/operator/path.rs).

import type { Schemas } from "./api";

type Entry = Schemas["AuditEntry"];
type Event = Schemas["Event"];
type Of<T extends Event["type"]> = Extract<Event, { type: T }>;

/** One release of a key to one claim of a step. */
export interface Release {
  run: string;
  step: string;
  fence: number;
  at: string;
  /** Who got it: a worker, or the sandbox of a task. */
  to: string;
  secret: Schemas["SecretRef"];
}

/** A station of the path. */
export interface Station {
  name: string;
  what: string;
  more: string;
}

/** The releases of a key of a profile that entries tell of; of every profile if none is named. */
export function releases(entries: Entry[], key: string, profile: string): Release[] {
  return entries.flatMap((entry) =>
    entry.events.flatMap((event) => {
      if (event.type !== "secret.released" || entry.run_id === undefined) return [];
      const { step_id: step, fence } = event;
      const ours = event.secrets.filter((secret) => secret.name === key && (profile === "" || secret.from === profile));
      return ours.map((secret) => ({ run: entry.run_id as string, step, fence, at: entry.at, to: entry.actor, secret }));
    }),
  );
}

/** The stations of a release, by all entries of its run and the run as it is now. */
export function stations(release: Release, entries: Entry[], run: Schemas["RunView"]): Station[] {
  const { step, fence, secret } = release;
  const all = entries.flatMap((entry) => entry.events.map((event) => ({ at: entry.at, actor: entry.actor, event })));
  const find = <T extends Event["type"]>(type: T): { at: string; actor: string; event: Of<T> } | undefined =>
    all.find(({ event }) => {
      if (event.type !== type) return false;
      if ("step_id" in event && event.step_id !== step) return false;
      return !("fence" in event) || event.fence === fence;
    }) as { at: string; actor: string; event: Of<T> } | undefined;

  const enqueued = find("run.enqueued");
  const used = (find("profile.injected")?.event.profiles ?? enqueued?.event.profiles ?? []).find((use) => use.profile === secret.from);
  const leased = find("step.leased");
  const running = find("step.running");
  const view = run.steps.find((one) => one.id === step);
  const asked = (run.document?.steps ?? []).find((one) => (one as { id?: string }).id === step) as { tool?: string } | undefined;
  const last = view?.fence === fence;
  return [
    { name: "reference", what: secret.uri, more: "" },
    { name: "version", what: secret.version ?? "not pinned", more: "" },
    { name: "profile", what: secret.from, more: used ? `version ${used.version}` : "" },
    { name: "level", what: used?.level ?? "unknown", more: "" },
    { name: "run", what: release.run, more: enqueued ? `workflow ${enqueued.event.workflow}, enqueued by ${enqueued.actor} at ${enqueued.at}` : "" },
    { name: "step", what: step, more: `fence ${fence}${leased ? `, mode ${leased.event.mode}` : ""}, released at ${release.at}` },
    { name: "tool", what: asked?.tool ?? "none", more: "" },
    { name: "worker", what: leased?.event.worker_id ?? "unknown", more: view ? `pool ${view.pool}` : "" },
    { name: "sandbox", what: (last && view?.handle) || "not recorded", more: running ? `running at ${running.at}` : "never started" },
    { name: "end", ...end(all, step, fence, last) },
  ];
}

function end(all: { at: string; event: Event }[], step: string, fence: number, last: boolean): Omit<Station, "name"> {
  const found = all.find(({ event }) => {
    switch (event.type) {
      case "step.succeeded":
      case "step.failed":
      case "step.requeued":
        return event.step_id === step && event.fence === fence;
      case "step.aborted":
      case "step.dead":
        return last && event.step_id === step;
      default:
        return false;
    }
  });
  if (!found) return { what: "goes on", more: "" };
  const { event } = found;
  const why =
    event.type === "step.failed"
      ? event.failure.kind
      : event.type === "step.aborted"
        ? event.reason.kind
        : event.type === "step.requeued" || event.type === "step.dead"
          ? event.reason
          : "";
  return { what: event.type.replace("step.", ""), more: `${why && `${why}, `}at ${found.at}` };
}

/** The path as text, a line for each station. */
export function lines(of: Station[]): string {
  return of.map(({ name, what, more }) => `${name.padEnd(10)} ${what}${more && `  (${more})`}`).join("\n");
}
