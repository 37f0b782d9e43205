// Fleet: pools, workers, the keys that admit them, and what died in their queues.

import type { JSX } from "preact";

import { all, answered, type Schemas } from "../api";
import { emptiness, useLoad, useMay, useSeat } from "../session";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Copy, Facts, Labels, Link, Part, Trouble, View, When } from "../ui/basics";
import { type Column, Pages, Table } from "../ui/table";

type Worker = Schemas["WorkerSummary"];
type Key = Schemas["EnrolmentKeyView"];

export function Fleet(): JSX.Element {
  const may = useMay();
  return (
    <View title="Fleet">
      <Pools />
      <Part title="Workers">
        <Pages<Worker>
          name="workers"
          label="Workers"
          noun="worker"
          load={(api, cursor) => answered(api.GET("/v1/workers", { params: { query: cursor } }))}
          id={(worker) => worker.worker_id}
          empty="No worker has registered."
          columns={workers}
        />
      </Part>
      {may("ManageEnrolmentKeys") && <Keys />}
      {may("ReadRuns") && <Dead />}
    </View>
  );
}

function Pools(): JSX.Element | null {
  const { project } = useSeat().session.whoami;
  if (project === undefined) return null;
  return <PoolsOf project={project} />;
}

/** The pools of a project. */
export function PoolsOf({ project }: { project: string }): JSX.Element {
  const view = useLoad(`pools ${project}`, (api) => answered(api.GET("/v1/projects/{project}", { params: { path: { project } } })));
  return (
    <Part title="Pools">
      <Trouble error={view.error} />
      <Table
        label="Pools"
        rows={Object.entries(view.data?.pools ?? {})}
        id={([name]) => name}
        empty={emptiness(view, "This project has no pool.")}
        columns={[
          { name: "Pool", of: ([name]) => name },
          { name: "Started by", of: ([, pool]) => (pool.kind === "pull" ? "its workers" : "Fargate") },
          { name: "At once", of: ([, pool]) => (pool.kind === "pull" ? "as its workers say" : pool.max_concurrent) },
          { name: "Size", of: ([, pool]) => (pool.kind === "pull" ? "–" : `${pool.cpu} CPU units, ${pool.memory_mib} MiB`) },
          { name: "Image or backend", of: ([, pool]) => <Code>{pool.kind === "pull" ? (pool.backend ?? "the worker's choice") : pool.image}</Code> },
        ]}
      />
    </Part>
  );
}

function workers(again: () => void): Column<Worker>[] {
  return [
    { name: "Worker", of: (worker) => <Link path={["fleet", worker.worker_id]}>{worker.name}</Link> },
    { name: "Status", of: (worker) => <Badge {...standing(worker)} /> },
    { name: "Pool", of: (worker) => worker.pool },
    { name: "Last seen", of: (worker) => <When time={worker.last_seen_at} /> },
    { name: "Version", of: (worker) => worker.version ?? "–" },
    { name: "Holds", of: (worker) => `${worker.held} of ${worker.max_concurrent}` },
    { name: "Modes", of: (worker) => worker.modes.join(", ") },
    { name: "Labels", of: (worker) => <Labels of={worker.labels} /> },
    { name: "Actions", of: (worker) => <Decide worker={worker} done={again} /> },
  ];
}

/** Where the registration of a worker stands, and whether it drains. */
function standing(worker: Schemas["WorkerView"]): { of: string; tone?: string } {
  const drains = worker.status === "approved" && worker.draining_since;
  return drains ? { of: "drains", tone: "warn" } : { of: worker.status };
}

/** What an admin may decide about a worker now. */
function Decide({ worker, done }: { worker: Schemas["WorkerView"]; done: () => void }): JSX.Element | null {
  const path = { params: { path: { worker_id: worker.worker_id } } };
  const facts = (
    <Facts
      of={[
        ["Name", worker.name],
        ["Pool", worker.pool],
        ["Modes", worker.modes.join(", ")],
        ["Labels", <Labels of={worker.labels} />],
        ["Models", worker.models.join(", ") || "none"],
      ]}
    />
  );
  if (worker.status === "pending") {
    return (
      <div class="buttons">
        <Act
          action="ManageWorkers"
          label="Approve"
          title="Approve this worker?"
          run={async (api) => void (await answered(api.POST("/v1/workers/{worker_id}/approve", path)))}
          done={done}
        >
          <p>It may claim steps of its pool, and holds the secrets of those it claims. Approve only what you expect.</p>
          {facts}
        </Act>
        <Act
          action="ManageWorkers"
          label="Reject"
          title="Reject this worker?"
          danger
          run={async (api) => void (await answered(api.POST("/v1/workers/{worker_id}/reject", path)))}
          done={done}
        >
          <p>It stays out. It can register again.</p>
          {facts}
        </Act>
      </div>
    );
  }
  if (worker.status !== "approved") return null;
  return (
    <div class="buttons">
      {worker.draining_since ? (
        <Act
          action="ManageWorkers"
          label="Resume"
          title="Resume this worker?"
          run={async (api) => void (await answered(api.POST("/v1/workers/{worker_id}/resume", path)))}
          done={done}
        >
          <p>It takes steps again within a minute.</p>
          {facts}
        </Act>
      ) : (
        <Act
          action="ManageWorkers"
          label="Drain"
          title="Drain this worker?"
          run={async (api) => void (await answered(api.POST("/v1/workers/{worker_id}/drain", path)))}
          done={done}
        >
          <p>It gets no new steps and ends those that it holds, until it is resumed. A pool of Fargate launches nothing meanwhile.</p>
          {facts}
        </Act>
      )}
      <Act
        action="ManageWorkers"
        label="Revoke"
        title="Revoke this worker?"
        danger
        run={async (api) => void (await answered(api.POST("/v1/workers/{worker_id}/revoke", path)))}
        done={done}
      >
        <p>Its credential opens nothing any more, and the steps that it holds go back into the queue. This cannot be undone.</p>
        <p>To let it end its steps first, drain it.</p>
        {facts}
      </Act>
    </div>
  );
}

/** One worker. */
export function Worker({ id }: { id: string }): JSX.Element {
  const worker = useLoad(
    id,
    (api) => answered(api.GET("/v1/workers/{worker_id}", { params: { path: { worker_id: id } } })),
    () => 5000,
  );
  const view = worker.data;
  const may = useMay();
  return (
    <View title={view ? `Worker ${view.name}` : "Worker"} aside={view && <Decide worker={view} done={worker.again} />}>
      <Asked of={worker} />
      {view && (
        <>
          <Facts
            of={[
              ["Worker", <Code>{view.worker_id}</Code>],
              ["Status", <Badge {...standing(view)} />],
              ["Drains since", view.draining_since && <When time={view.draining_since} />],
              ["Pool", view.pool],
              ["Registered", <When time={view.registered_at} />],
              ["Last seen", <When time={view.last_seen_at} />],
              ["Version", view.version],
              ["At once", view.max_concurrent],
              ["Modes", view.modes.join(", ")],
              ["Models", view.models.join(", ")],
              ["Labels", <Labels of={view.labels} />],
              ["Sandboxes", view.sandboxes?.backends?.join(", ")],
              ["Egress proxy", view.sandboxes && (view.sandboxes.egress ? "yes" : "no")],
              ["Images", view.sandboxes?.images?.join(", ")],
            ]}
          />
          <Part title="Steps that it holds">
            <Table
              label="Held steps"
              rows={view.steps}
              id={(step) => `${step.run_id} ${step.step_id}`}
              empty="It holds no step."
              columns={[
                { name: "Run", of: (step) => <Link path={["runs", step.run_id]}><Code>{step.run_id}</Code></Link> },
                { name: "Step", of: (step) => step.step_id },
                { name: "Fence", of: (step) => step.fence },
              ]}
            />
          </Part>
          {may("ReadAudit") && (
            <p>
              <Link path={["audit"]} query={{ actor: `worker:${id}` }}>
                What it did, in the audit trail
              </Link>
            </p>
          )}
        </>
      )}
    </View>
  );
}

function Keys(): JSX.Element {
  const { project } = useSeat().session.whoami;
  const pools = useLoad(`pools of keys ${project}`, (api) =>
    answered(api.GET("/v1/projects/{project}", { params: { path: { project: project ?? "" } } })),
  );
  const pull = Object.entries(pools.data?.pools ?? {}).filter(([, pool]) => pool.kind === "pull");
  const columns = (again: () => void): Column<Key>[] => [
    { name: "Key", of: (key) => <Code>{key.enrolment_key_id}</Code> },
    { name: "State", of: (key) => <Badge {...stateOf(key)} /> },
    { name: "Pool", of: (key) => key.pool },
    { name: "Used", of: (key) => `${key.uses} of ${key.max_uses}` },
    { name: "Expires", of: (key) => <When time={key.expires_at} /> },
    { name: "Labels", of: (key) => <Labels of={key.labels} /> },
    {
      name: "Actions",
      of: (key) =>
        stateOf(key).of === "valid" && (
          <Act
            action="ManageEnrolmentKeys"
            label="Revoke"
            title="Revoke this enrolment key?"
            danger
            run={async (api) => {
              const path = { params: { path: { enrolment_key_id: key.enrolment_key_id } } };
              await answered(api.DELETE("/v1/enrolment-keys/{enrolment_key_id}", path));
            }}
            done={again}
          >
            <p>No worker can register with it any more. Workers that it approved stay approved.</p>
          </Act>
        ),
    },
  ];
  return (
    <Part title="Enrolment keys">
      <Pages<Key>
        name="keys"
        label="Enrolment keys"
        noun="key"
        load={(api, cursor) => answered(api.GET("/v1/enrolment-keys", { params: { query: cursor } }))}
        id={(key) => key.enrolment_key_id}
        empty="There is no key."
        columns={columns}
        adds={(again) =>
          pull.length > 0 && (
            <Act
              action="ManageEnrolmentKeys"
              label="New key"
              title="New enrolment key"
              inputs={[
                { name: "pool", label: "Pool", choices: pull.map(([name]) => name) },
                { name: "uses", label: "Workers that may register with it", type: "number", value: "1" },
                { name: "hours", label: "Hours until it expires", type: "number", value: "24" },
              ]}
              run={async (api, { pool = "", uses, hours }) => {
                const body = { pool, labels: {}, models: [], max_uses: Number(uses), expires_in_seconds: Number(hours) * 3600 };
                const made = await answered(api.POST("/v1/enrolment-keys", { body }));
                return <Once what="enrolment key" secret={made.enrolment_key} />;
              }}
              done={again}
            >
              <p>Workers that register with it are approved immediately.</p>
            </Act>
          )
        }
      />
    </Part>
  );
}

function stateOf(key: Key): { of: string; tone: string } {
  if (key.revoked_at) return { of: "revoked", tone: "bad" };
  if (Date.parse(key.expires_at) <= Date.now()) return { of: "expired", tone: "warn" };
  return key.uses >= key.max_uses ? { of: "used up", tone: "calm" } : { of: "valid", tone: "good" };
}

/** A new credential. The API shows it once, and so does this. */
export function Once({ what, secret }: { what: string; secret: string }): JSX.Element {
  return (
    <>
      <p>{`This ${what} is shown once. Copy it to where it is used; nobody can show it again.`}</p>
      <Copy label={`The new ${what}`} text={secret} />
    </>
  );
}

/** Runs with steps that nobody tries any more, the queue's dead letters. */
function Dead(): JSX.Element {
  const dead = useLoad("dead", (api) =>
    all(100, (cursor) => answered(api.GET("/v1/runs", { params: { query: { state: "dead", limit: 100, ...cursor } } }))),
  );
  return (
    <Part title="Dead letters" aside={<Link path={["runs"]} query={{ state: "dead" }}>All dead runs</Link>}>
      <Trouble error={dead.error} />
      <Table
        label="Dead runs"
        rows={(dead.data?.items ?? []).slice(0, 10)}
        id={(run) => run.run_id}
        empty={emptiness(dead, "No run is dead.")}
        columns={[
          { name: "Run", of: (run) => <Link path={["runs", run.run_id]}><Code>{run.run_id}</Code></Link> },
          { name: "Workflow", of: (run) => run.workflow },
          { name: "Enqueued", of: (run) => <When time={run.created_at} /> },
        ]}
      />
    </Part>
  );
}
