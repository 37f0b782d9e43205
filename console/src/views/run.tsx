// One run: its graph, why it waits, its attempts, what happened, and what came out of it.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { answered, type Api, type Schemas } from "../api";
import { go, to } from "../router";
import { emptiness, told, useApi, useLoad, useMay } from "../session";
import { bytes, many, members, took, words } from "../text";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Copy, Facts, Labels, Link, Part, Trouble, View, When } from "../ui/basics";
import { Graph } from "../ui/graph";
import { Table } from "../ui/table";
import { type Moment, Timeline } from "../ui/timeline";
import { entriesOf } from "./runs";

type RunView = Schemas["RunView"];
type Step = Schemas["StepView"];

const ENDED = ["succeeded", "failed", "aborted", "dead"];
/** Signs of output that a page holds. The command line has no such limit. */
const SHOWN = 400_000;

export function Run({ id, query }: { id: string; query: URLSearchParams }): JSX.Element {
  const may = useMay();
  const path = { params: { path: { run_id: id } } };
  const run = useLoad(
    id,
    (api) => answered(api.GET("/v1/runs/{run_id}", path)),
    (seen) => (seen && ENDED.includes(seen.state) ? undefined : 2000),
  );
  const view = run.data;
  if (view === undefined) {
    return (
      <View title="Run">
        <Asked of={run} />
      </View>
    );
  }
  const ended = ENDED.includes(view.state);
  const step = view.steps.find((one) => one.id === query.get("step")) ?? view.steps[0];
  return (
    <View
      title={`Run of ${view.workflow}`}
      aside={
        <div class="buttons">
          {!ended && (
            <Act
              action="Cancel"
              label="Cancel run"
              title="Cancel this run?"
              danger
              run={async (api) => void (await answered(api.POST("/v1/runs/{run_id}/cancel", path)))}
              done={run.again}
            >
              <p>Its steps are aborted and their sandboxes stopped. This cannot be undone.</p>
            </Act>
          )}
          {ended && view.document && (
            <Act action="Enqueue" label="Run again" title="Enqueue this run again?" run={(api) => again(api, view)}>
              <p>A new run of the same document is enqueued. Its profiles are resolved anew.</p>
            </Act>
          )}
        </div>
      }
    >
      <Asked of={run} />
      <Facts
        of={[
          ["Run", <Code>{view.run_id}</Code>],
          ["State", <Badge of={view.state} />],
          ["Workflow", view.workflow],
          ["Labels", view.labels && <Labels of={view.labels} />],
          ["Enqueued", <When time={view.created_at} />],
          ["Ended", view.ended_at && <When time={view.ended_at} />],
          ["Took", view.ended_at && took(view.created_at, view.ended_at)],
          ["Profiles", view.profiles && <Profiles of={view.profiles} />],
        ]}
      />
      <Waits run={view} />
      <Part title="Steps">
        <Graph nodes={view.steps.map((one) => ({ id: one.id, needs: one.needs ?? [], state: one.state, note: `${one.mode}, fence ${one.fence}` }))} />
        <Table<Step>
          label="Steps"
          rows={view.steps}
          id={(one) => one.id}
          empty="No steps."
          columns={[
            { name: "Step", of: (one) => <Link path={["runs", id]} query={{ step: one.id }}>{one.id}</Link> },
            { name: "State", of: (one) => <Badge of={one.state} /> },
            { name: "Mode", of: (one) => (one.agent ? `${one.mode}, ${one.agent}` : one.mode) },
            { name: "Pool", of: (one) => one.pool },
            { name: "Needs", of: (one) => one.needs?.join(", ") || "–" },
            { name: "Fence", of: (one) => one.fence },
            { name: "Attempt", of: (one) => one.attempt },
            { name: "Worker", of: (one) => (one.worker_id ? <Worker id={one.worker_id} /> : "–") },
            { name: "What came of it", of: ended_by },
            { name: "Actions", of: (one) => <Retry run={id} step={one} done={run.again} /> },
          ]}
        />
      </Part>
      {step && <StepPart key={step.id} run={id} step={step} />}
      {view.secrets && view.secrets.length > 0 && (
        <Part title="Secrets, by reference">
          <Table
            label="Secrets"
            rows={view.secrets}
            id={(secret) => secret.name}
            empty="None."
            columns={[
              { name: "Key", of: (secret) => (may("ReadAudit") ? <Link path={["path"]} query={{ profile: secret.from, key: secret.name }}>{secret.name}</Link> : secret.name) },
              { name: "Of profile", of: (secret) => <ProfileLink of={secret.from} /> },
              { name: "Reference", of: (secret) => <Code>{secret.uri}</Code> },
              { name: "Version", of: (secret) => (secret.version ? <Code>{secret.version}</Code> : "–") },
            ]}
          />
        </Part>
      )}
      {may("ReadAudit") ? <Trail run={view} /> : <Part title="Timeline"><p class="faint">Only an admin reads the audit trail. The attempts above say when each step began and ended.</p></Part>}
    </View>
  );
}

/** A profile; the system's are the operators' to read. */
export function ProfileLink({ of: name }: { of: string }): JSX.Element {
  return name.startsWith("system/") ? <>{name}</> : <Link path={["sealed", name]}>{name}</Link>;
}

export function Profiles({ of: uses }: { of: Schemas["ProfileUse"][] }): JSX.Element {
  return (
    <ul class="labels">
      {uses.map((use) => (
        <li key={use.level}>
          {words(use.level)}: <ProfileLink of={use.profile} /> {`version ${use.version}`}
        </li>
      ))}
    </ul>
  );
}

function Worker({ id }: { id: string }): JSX.Element {
  return (
    <Link path={["fleet", id]}>
      <Code>{id}</Code>
    </Link>
  );
}

function Waits({ run }: { run: RunView }): JSX.Element | null {
  const waiting = run.steps.filter((step) => step.diagnosis);
  if (waiting.length === 0) return null;
  return (
    <Part title="Why it waits">
      <ul>
        {waiting.map((step) => (
          <li key={step.id}>
            <strong>{step.id}</strong>: {step.diagnosis}
          </li>
        ))}
      </ul>
    </Part>
  );
}

function ended_by(step: Step): JSX.Element | string {
  if (step.failure) return `${words(step.failure.kind)} ${members(step.failure)}`.trim();
  if (step.aborted) return `${words(step.aborted.kind)} ${members(step.aborted)}`.trim();
  if (step.dead) return words(step.dead);
  if (step.lost) return `put back: ${words(step.lost)}`;
  return step.ended_at && step.started_at ? took(step.started_at, step.ended_at) : "–";
}

function Retry({ run, step, done }: { run: string; step: Step; done: () => void }): JSX.Element | null {
  if (step.state !== "dead") return null;
  const path = { params: { path: { run_id: run, step_id: step.id } } };
  return (
    <Act
      action="Retry"
      label="Retry"
      title="Retry this step?"
      run={async (api) => void (await answered(api.POST("/v1/runs/{run_id}/steps/{step_id}/retry", path)))}
      done={done}
    >
      <p>{`Step ${step.id} goes back into its queue.`}</p>
    </Act>
  );
}

async function again(api: Api, run: RunView): Promise<void> {
  const header = { "Idempotency-Key": crypto.randomUUID() };
  const body = run.document as unknown as Schemas["EnqueueRun"];
  const made = await answered(api.POST("/v1/runs", { params: { header }, body }));
  go(to(["runs", made.run_id]));
}

function StepPart({ run, step }: { run: string; step: Step }): JSX.Element {
  const facts: [string, JSX.Element | string | undefined][] = [
    ["Started", step.started_at && <When time={step.started_at} />],
    ["Ended", step.ended_at && <When time={step.ended_at} />],
    ["Sandbox", step.handle && <Code>{step.handle}</Code>],
    ["Turns", step.turns?.toString()],
    ["Cost", step.cost_usd === undefined ? undefined : `$${step.cost_usd}`],
    ["Tokens", step.usage && `${step.usage.input_tokens} in, ${step.usage.cached_input_tokens} cached, ${step.usage.output_tokens} out`],
    ["Output missing", step.output_missing_bytes ? bytes(step.output_missing_bytes) : undefined],
    ["Output cut", step.output_cut_bytes ? bytes(step.output_cut_bytes) : undefined],
  ];
  return (
    <>
      <Part title={`Attempts of step ${step.id}`}>
        <Facts of={facts} />
        <Table
          label="Attempts"
          rows={step.attempts ?? []}
          id={(attempt) => String(attempt.fence)}
          empty="Nobody has claimed it yet."
          columns={[
            { name: "Fence", of: (attempt) => attempt.fence },
            { name: "Worker", of: (attempt) => <Worker id={attempt.worker_id} /> },
            { name: "Claimed", of: (attempt) => <When time={attempt.claimed_at} /> },
            { name: "Started", of: (attempt) => <When time={attempt.started_at} /> },
            { name: "Ended", of: (attempt) => <When time={attempt.ended_at} /> },
            { name: "End", of: (attempt) => (attempt.end ? <Badge of={attempt.end} /> : "goes on") },
            { name: "Cause", of: (attempt) => (attempt.lost ? words(attempt.lost) : "–") },
          ]}
        />
      </Part>
      <Output run={run} step={step} />
      {step.result_bytes !== undefined && <Result run={run} step={step.id} />}
      {step.artifacts && <Artifacts run={run} step={step.id} total={step.artifacts} />}
    </>
  );
}

interface Printed {
  pieces: { stream: string; text: string; missing: number }[];
  size: number;
  dropped: number;
  place?: Schemas["OutputPlace"] | undefined;
  error?: string;
  done: boolean;
}

/** What a step prints, while it prints it. */
function Output({ run, step }: { run: string; step: Step }): JSX.Element {
  const api = useApi();
  const [printed, setPrinted] = useState<Printed>({ pieces: [], size: 0, dropped: 0, done: false });
  const end = useRef<HTMLPreElement>(null);
  const begun = !["blocked", "waiting", "queued"].includes(step.state) || step.fence > 0;
  useEffect(() => {
    if (!begun) return undefined;
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (cursor: string | undefined): Promise<void> => {
      const params = { path: { run_id: run, step_id: step.id }, query: cursor === undefined ? {} : { cursor } };
      try {
        const page = await answered(api.GET("/v1/runs/{run_id}/steps/{step_id}/output", { params }));
        if (over) return;
        const next = page.next_cursor;
        setPrinted((before) => added(before, page));
        if (next !== undefined) timer = setTimeout(() => void read(next), page.items.length > 0 ? 0 : 1500);
      } catch (failure) {
        if (!over) setPrinted((before) => ({ ...before, error: told(failure) }));
      }
    };
    void read(undefined);
    return () => {
      over = true;
      clearTimeout(timer);
      setPrinted({ pieces: [], size: 0, dropped: 0, done: false });
    };
  }, [run, step.id, begun, api]);
  return (
    <Part title={`Output of step ${step.id}`} aside={<span class="faint" role="status">{!begun ? "not started" : printed.done ? "complete" : "live"}</span>}>
      <Trouble error={printed.error} />
      {printed.dropped > 0 && <p class="faint">{`The first ${bytes(printed.dropped)} are not shown here: sealfleet run logs ${run}`}</p>}
      {printed.place && printed.place.kind !== "project" && <p class="faint">{`It is kept elsewhere: ${members(printed.place)}`}</p>}
      <pre class="output" tabIndex={0} aria-label="Output" ref={end}>
        {printed.pieces.map((piece, index) => (
          <span key={index} class={piece.stream}>
            {piece.text}
            {piece.missing > 0 && <em>{`\n[${bytes(piece.missing)} missing]\n`}</em>}
          </span>
        ))}
        {printed.pieces.length === 0 && <span class="faint">{printed.done ? "It has printed nothing." : "Nothing yet."}</span>}
      </pre>
    </Part>
  );
}

/** The output with another page of it; the oldest goes where there is too much. */
export function added(before: Printed, page: Schemas["OutputPage"]): Printed {
  const pieces = [...before.pieces];
  let { size, dropped } = before;
  for (const { stream, text, missing_bytes } of page.items) {
    const last = pieces.at(-1);
    size += text.length;
    if (last && last.stream === stream && last.missing === 0 && last.text.length < 50_000) {
      pieces[pieces.length - 1] = { stream, text: last.text + text, missing: missing_bytes ?? 0 };
    } else {
      pieces.push({ stream, text, missing: missing_bytes ?? 0 });
    }
  }
  while (size > SHOWN && pieces.length > 1) {
    const gone = pieces.shift()?.text.length ?? 0;
    size -= gone;
    dropped += gone;
  }
  return { pieces, size, dropped, place: page.place, done: page.next_cursor === undefined };
}

function Result({ run, step }: { run: string; step: string }): JSX.Element {
  const path = { params: { path: { run_id: run, step_id: step } } };
  const result = useLoad(`${run} ${step}`, (api) => answered(api.GET("/v1/runs/{run_id}/steps/{step_id}/result", path)));
  return (
    <Part title={`Result of step ${step}`}>
      <Asked of={result} />
      {result.data && (
        <pre class="output" tabIndex={0} aria-label="Result">
          {result.data.result === undefined ? `${bytes(result.data.bytes)}, kept where the step ran` : JSON.stringify(result.data.result, null, 2)}
        </pre>
      )}
    </Part>
  );
}

function Artifacts({ run, step, total }: { run: string; step: string; total: Schemas["ArtifactTotal"] }): JSX.Element {
  const path = { params: { path: { run_id: run, step_id: step } } };
  const files = useLoad(`${run} ${step}`, (api) => answered(api.GET("/v1/runs/{run_id}/steps/{step_id}/artifacts", path)));
  return (
    <Part title={`Artifacts of step ${step}`}>
      <Trouble error={files.error} />
      <p>{`${many(total.files, "file")}, ${bytes(total.bytes)}. Get them where you trust what is in them:`}</p>
      <Copy label="Command that gets the artifacts" text={`sealfleet run artifacts ${run} --step ${step} --download DIRECTORY`} />
      <Table
        label="Artifacts"
        rows={files.data?.items ?? []}
        id={(file) => file.name}
        empty={emptiness(files, "None.")}
        columns={[
          { name: "Name", of: (file) => <Code>{file.name}</Code> },
          { name: "Size", of: (file) => bytes(file.bytes) },
          { name: "Where", of: (file) => (file.withheld ? "withheld" : file.to === "local" ? "beside its worker" : "with the project") },
          { name: "Secrets in it", of: (file) => file.contains_secret?.join(", ") || "none found" },
          { name: "SHA-256", of: (file) => (file.sha256 ? <Code>{file.sha256}</Code> : "–") },
        ]}
      />
      {files.data?.next_cursor && <p class="faint">There are more; the command gets them all.</p>}
    </Part>
  );
}

/** What the audit trail says of the run. */
function Trail({ run }: { run: RunView }): JSX.Element {
  const trail = useLoad(`${run.run_id} ${run.state}`, (api) => entriesOf(api, run.run_id), () => (ENDED.includes(run.state) ? undefined : 3000));
  return (
    <Part title="Timeline" aside={<Link path={["audit"]} query={{ run: run.run_id }}>In the audit trail</Link>}>
      <Trouble error={trail.error} />
      {trail.data?.length === 0 && <p class="faint">The trail has nothing of it yet.</p>}
      <Timeline label="What happened" of={moments(trail.data ?? [])} />
    </Part>
  );
}

/** The events of entries, each a moment of its own. */
export function moments(entries: Schemas["AuditEntry"][]): Moment[] {
  return entries.flatMap((entry) =>
    entry.events.map((event, index) => ({
      key: `${entry.event_id} ${index}`,
      at: entry.at,
      title: words(event.type),
      detail: members(event),
      by: entry.actor,
    })),
  );
}
