// The inbox: what waits for a decision, what a yes would allow, and the decision.

import type { JSX } from "preact";

import { answered, type Schemas } from "../api";
import { useLoad } from "../session";
import { members } from "../text";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Facts, Labels, Link, Part, View, When } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Pages, Table } from "../ui/table";
import { Profiles } from "./run";
import { Definition } from "./workflows";

type Approval = Schemas["Approval"];

export function Inbox({ query }: { query: URLSearchParams }): JSX.Element {
  const state = query.get("state") === "decided" ? "decided" : "pending";
  return (
    <View title="Inbox">
      <Filters path={["inbox"]} query={new URLSearchParams({ state })} action="Show" of={[{ name: "state", label: "State", choices: ["pending", "decided"], required: true }]} />
      <Pages<Approval>
        name={`approvals ${state}`}
        label="Approvals"
        noun="approval"
        load={(api, cursor) => answered(api.GET("/v1/approvals", { params: { query: { state, ...cursor } } }))}
        id={(approval) => approval.approval}
        empty={state === "pending" ? "Nothing waits for a decision." : "Nothing was decided yet."}
        columns={[
          { name: "What", of: (approval) => <Link path={["inbox", approval.approval]}>{approval.approval}</Link> },
          { name: "State", of: (approval) => <Badge of={approval.state} /> },
          { name: "Asked by", of: (approval) => <Who actor={approval.requested_by} login={approval.login} /> },
          { name: "When", of: (approval) => <When time={approval.requested_at} /> },
          { name: "Approvals", of: (approval) => `${approved(approval)} of ${approval.approvers}` },
        ]}
      />
    </View>
  );
}

/** A caller, and the login behind it. */
function Who({ actor, login }: { actor: string; login?: string | undefined }): JSX.Element {
  return (
    <>
      <Code>{actor}</Code>
      {login !== undefined && login !== actor && (
        <>
          {" of "}
          <Code>{login}</Code>
        </>
      )}
    </>
  );
}

/** How many have approved. */
function approved(approval: Approval): number {
  return (approval.decisions ?? []).filter((one) => one.verdict === "approve").length;
}

export function ApprovalView({ id }: { id: string }): JSX.Element {
  const path = { params: { path: { approval: id } } };
  const approval = useLoad(id, (api) => answered(api.GET("/v1/approvals/{approval}", path)));
  const view = approval.data;
  return (
    <View title={`Approval of ${id}`} aside={<Link path={["inbox"]}>Inbox</Link>}>
      <Asked of={approval} />
      {view && (
        <>
          <Facts
            of={[
              ["State", <Badge of={view.state} />],
              ["Asked by", <Who actor={view.requested_by} login={view.login} />],
              ["When", <When time={view.requested_at} />],
              ["Approvals", `${approved(view)} of ${view.approvers}${view.logins_only ? ", of logins only" : ""}`],
              ["Decide by", view.decide_by && <When time={view.decide_by} />],
              ["Request", <Code>{view.request}</Code>],
            ]}
          />
          {view.state === "pending" && <Decide of={view} done={approval.again} />}
          <Part title="Decisions">
            <Table
              label="Decisions"
              rows={view.decisions ?? []}
              id={(one) => `${one.by} ${one.at}`}
              empty="Nobody has decided yet."
              columns={[
                { name: "By", of: (one) => <Who actor={one.by} login={one.login} /> },
                { name: "Decision", of: (one) => <Badge of={one.verdict} tone={one.verdict === "approve" ? "good" : "bad"} /> },
                { name: "When", of: (one) => <When time={one.at} /> },
                { name: "Reason", of: (one) => one.reason ?? "–" },
              ]}
            />
          </Part>
          {view.workflow_version && (
            <>
              <p>{`A yes makes version ${view.workflow_version.version} the one that callers of ${view.workflow_version.workflow} run, by its name and parameters.`}</p>
              <Definition of={view.workflow_version} />
            </>
          )}
          {view.worker && <Worker of={view.worker} />}
          {view.run && view.step && <Step of={view.run} step={view.step} />}
        </>
      )}
    </View>
  );
}

function Worker({ of: worker }: { of: Schemas["WorkerView"] }): JSX.Element {
  return (
    <Part title={`Worker ${worker.name}`}>
      <p>{`A yes lets it claim steps of pool ${worker.pool}, with the secrets that they see.`}</p>
      <Facts
        of={[
          ["Worker", <Link path={["fleet", worker.worker_id]}>{worker.worker_id}</Link>],
          ["Modes", worker.modes.join(", ")],
          ["Labels", members(worker.labels)],
          ["Models", worker.models?.join(", ")],
          ["Steps at once", worker.max_concurrent],
        ]}
      />
    </Part>
  );
}

function Step({ of: run, step }: { of: Schemas["RunView"]; step: object }): JSX.Element {
  return (
    <Part title={`Step ${(step as { id: string }).id}`}>
      <p>
        A yes puts this step of run <Link path={["runs", run.run_id]}>{run.run_id}</Link> ({run.workflow}) in its queue.
      </p>
      <Facts
        of={[
          ["Profiles", run.profiles && <Profiles of={run.profiles} />],
          ["Keys of the run", run.secrets?.map((secret) => `${secret.name} of ${secret.from}`).join(", ") || "none"],
          ["Labels", run.labels && <Labels of={run.labels} />],
        ]}
      />
      <pre class="output" tabIndex={0} aria-label="The step">
        {JSON.stringify(step, null, 2)}
      </pre>
    </Part>
  );
}

function Decide({ of: view, done }: { of: Schemas["ApprovalView"]; done: () => void }): JSX.Element {
  const path = { params: { path: { approval: view.approval } } };
  return (
    <div class="buttons">
      <Act
        action="Decide"
        label="Approve"
        title={`Approve ${view.approval}?`}
        inputs={[{ name: "reason", label: "Reason", required: false }]}
        run={async (api, { reason }) => {
          // It stands for what is shown here: if anything of it has changed, the API refuses.
          const body = { decision: "approve" as const, ...(view.review_token !== undefined && { review_token: view.review_token }), ...(reason && { reason }) };
          await answered(api.POST("/v1/approvals/{approval}/decision", { ...path, body }));
        }}
        done={done}
      >
        <p>You approve what is shown here. Whoever asked for it cannot.</p>
      </Act>
      <Act
        action="Decide"
        label="Deny"
        title={`Deny ${view.approval}?`}
        danger
        inputs={[{ name: "reason", label: "Reason" }]}
        run={async (api, { reason = "" }) => void (await answered(api.POST("/v1/approvals/{approval}/decision", { ...path, body: { decision: "deny", reason } })))}
        done={done}
      >
        <p>{view.workflow_version ? "What is live stays live." : view.step ? "The step ends, and what needs it." : "It cannot claim anything."}</p>
      </Act>
    </div>
  );
}
