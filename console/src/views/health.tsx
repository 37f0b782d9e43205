// Health: what is wrong now, and what to do about it. It asks what `sealfleet status` asks.

import type { JSX } from "preact";

import { all, answered, type Api, type Schemas } from "../api";
import { emptiness, useLoad, useSeat } from "../session";
import { many } from "../text";
import { Asked, Badge, Code, Facts, Link, Part, Trouble, View, When } from "../ui/basics";
import { Table } from "../ui/table";

/** Runs of a state that are read. */
const RUNS = 100;
/** Waiting runs whose steps are looked at, oldest first. */
const LOOKED_AT = 20;
/** How long a run may wait before its steps are looked at, in milliseconds. */
const PATIENCE = 30_000;
/** How long an approved worker may be silent, in milliseconds. */
const SILENCE = 120_000;

interface Wrong {
  what: string;
  about: string;
  path: string[];
  why: string;
}

interface Health {
  wrong: Wrong[];
  queued: number;
  running: number;
  workers: number;
  /** Requests that somebody else has to decide on. */
  approvals: number;
  oldest: string | undefined;
}

async function ask(api: Api, now: number): Promise<Health> {
  const ofState = async (state: Schemas["RunState"]): Promise<Schemas["RunSummary"][]> =>
    (await all(RUNS, (cursor) => answered(api.GET("/v1/runs", { params: { query: { state, limit: RUNS, ...cursor } } })))).items;
  const [queued, running, dead, workers, revocations, approvals] = await Promise.all([
    ofState("queued"),
    ofState("running"),
    ofState("dead"),
    all(1000, (cursor) => answered(api.GET("/v1/workers", { params: { query: { limit: 100, ...cursor } } }))),
    all(RUNS, (cursor) => answered(api.GET("/v1/revocations", { params: { query: { limit: 100, ...cursor } } }))),
    all(RUNS, (cursor) => answered(api.GET("/v1/approvals", { params: { query: { limit: 100, ...cursor } } }))),
  ]);
  const waiting = [...queued, ...running]
    .filter((run) => now - Date.parse(run.created_at) >= PATIENCE)
    .sort((a, b) => a.created_at.localeCompare(b.created_at))
    .slice(0, LOOKED_AT);
  const views = await Promise.all(
    waiting.map((run) => answered(api.GET("/v1/runs/{run_id}", { params: { path: { run_id: run.run_id } } }))),
  );
  const fanOuts = [...new Set(revocations.items.flatMap((revocation) => revocation.fan_out_id ?? []))].slice(-LOOKED_AT);
  const fans = await Promise.all(fanOuts.map((id) => answered(api.GET("/v1/fan-outs/{fan_out_id}", { params: { path: { fan_out_id: id } } }))));
  const wrong: Wrong[] = [
    ...views.flatMap((run) =>
      run.steps.flatMap((step) =>
        step.diagnosis && step.state !== "waiting" ? [{ what: "stuck step", about: `${run.run_id} ${step.id}`, path: ["runs", run.run_id], why: step.diagnosis }] : [],
      ),
    ),
    ...dead.map((run) => ({ what: "dead run", about: run.run_id, path: ["runs", run.run_id], why: "open it: retry its dead steps, or cancel it" })),
    ...workers.items.flatMap((worker) => {
      const of = { about: worker.name, path: ["fleet", worker.worker_id] };
      if (worker.status === "pending") return [{ ...of, what: "pending worker", why: "an admin approves or rejects it" }];
      const silent = worker.status === "approved" && worker.last_seen_at && now - Date.parse(worker.last_seen_at) > SILENCE;
      return silent && worker.held > 0 ? [{ ...of, what: "silent worker", why: "it holds steps and is not heard of; its leases run out" }] : [];
    }),
    ...fans.flatMap((fan) =>
      fan.finished_at ? [] : [{ what: "fan-out that goes on", about: fan.fan_out_id, path: ["revocations", fan.revocations[0] ?? ""], why: `${many(fan.runs_aborted, "run")} aborted so far` }],
    ),
  ];
  const oldest = queued.map((run) => run.created_at).sort()[0];
  return { wrong, queued: queued.length, running: running.length, workers: workers.items.filter((worker) => worker.status === "approved").length, approvals: approvals.items.length, oldest };
}

export function Health(): JSX.Element {
  const { project } = useSeat().session.whoami;
  return <View title="Health">{project === undefined ? <Above /> : <OfProject />}</View>;
}

function OfProject(): JSX.Element {
  const health = useLoad("health", (api) => ask(api, Date.now()), () => 10_000);
  const view = health.data;
  const count = (number: number): string => (number >= RUNS ? `${RUNS} or more` : String(number));
  return (
    <>
      <Asked of={health} />
      {view && (
        <>
          <p role="status">
            {view.wrong.length === 0 ? <Badge of="nothing is wrong" tone="good" /> : <Badge of={many(view.wrong.length, "finding")} tone="bad" />}
          </p>
          <Facts
            of={[
              ["Queued", <Link path={["runs"]} query={{ state: "queued" }}>{count(view.queued)}</Link>],
              ["Oldest of them", view.oldest && <When time={view.oldest} />],
              ["Running", <Link path={["runs"]} query={{ state: "running" }}>{count(view.running)}</Link>],
              ["Wait for a decision", <Link path={["inbox"]}>{count(view.approvals)}</Link>],
              ["Approved workers", <Link path={["fleet"]}>{view.workers}</Link>],
            ]}
          />
          <Table
            label="What is wrong"
            rows={view.wrong}
            id={(wrong) => `${wrong.what} ${wrong.about}`}
            empty="Nothing is wrong."
            columns={[
              { name: "What", of: (wrong) => wrong.what },
              { name: "Which", of: (wrong) => <Link path={wrong.path}><Code>{wrong.about}</Code></Link> },
              { name: "Why, and what to do", of: (wrong) => wrong.why },
            ]}
          />
        </>
      )}
    </>
  );
}

/** What operators see: how much of each project is unfinished, and no run. */
function Above(): JSX.Element {
  const activity = useLoad("activity", (api) => answered(api.GET("/v1/activity")), () => 10_000);
  const view = activity.data;
  return (
    <Part title="Unfinished, by project">
      <Trouble error={activity.error} />
      <Table
        label="Activity"
        rows={view?.projects ?? []}
        id={(project) => project.project}
        empty={emptiness(activity, "No run is unfinished.")}
        columns={[
          { name: "Project", of: (project) => <Link path={["projects", project.project]}>{project.project}</Link> },
          { name: "Unfinished runs", of: (project) => project.unfinished },
          { name: "Oldest", of: (project) => <When time={project.oldest_created_at} /> },
          { name: "Wait for a worker", of: (project) => (project.waiting > 0 ? <Badge of={String(project.waiting)} tone="warn" /> : "0") },
          { name: "Overdue", of: (project) => (project.overdue > 0 ? <Badge of={String(project.overdue)} tone="bad" /> : "0") },
        ]}
      />
      {view && !view.complete && <p>There are more unfinished runs than were counted.</p>}
      {view?.projects.some((project) => project.overdue > 0) && <p>Overdue runs: look at the log and the alarms of the function sweep.</p>}
    </Part>
  );
}
