// Registered workflows: their versions, and what each does.

import type { JSX } from "preact";

import { answered, type Schemas } from "../api";
import { useLoad } from "../session";
import { members } from "../text";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Copy, Facts, Link, Part, View, When } from "../ui/basics";
import { Pages, Table } from "../ui/table";

type Workflow = Schemas["WorkflowView"];
type Version = Schemas["WorkflowVersionView"];

export function Workflows(): JSX.Element {
  const rules = useLoad("governance", (api) => answered(api.GET("/v1/governance")));
  return (
    <View title="Workflows" aside={<Link path={["inbox"]}>Inbox</Link>}>
      {rules.data && (
        <p>
          {rules.data.require_registered_workflows ? "Callers of this project run registered workflows only. " : "Callers of this project may also write steps of their own. "}
          {rules.data.approvers === 1 ? "One other person approves a version." : `${rules.data.approvers} other people approve a version.`}
          {rules.data.logins_only && " Only logins decide, and no tokens."}
        </p>
      )}
      <Pages<Workflow>
        name="workflows"
        label="Workflows"
        noun="workflow"
        load={(api, cursor) => answered(api.GET("/v1/workflows", { params: { query: cursor } }))}
        id={(workflow) => workflow.name}
        empty="No workflow is registered: sealfleet workflow register NAME -f FILE"
        columns={[
          { name: "Workflow", of: (workflow) => <Link path={["workflows", workflow.name]}>{workflow.name}</Link> },
          { name: "Live", of: (workflow) => (workflow.live === undefined ? "none" : `version ${workflow.live}`) },
          { name: "Waits", of: (workflow) => (workflow.pending === undefined ? "–" : <Link path={["inbox", `workflow:${workflow.name}@${workflow.pending}`]}>{`version ${workflow.pending}`}</Link>) },
          { name: "Newest", of: (workflow) => `version ${workflow.newest}` },
          { name: "Runs", of: (workflow) => <Link path={["runs"]} query={{ workflow: workflow.name }}>Runs</Link> },
        ]}
      />
    </View>
  );
}

export function WorkflowView({ name, query }: { name: string; query: URLSearchParams }): JSX.Element {
  const path = { params: { path: { workflow: name } } };
  const workflow = useLoad(name, (api) => answered(api.GET("/v1/workflows/{workflow}", path)));
  const versions = useLoad(`versions ${name}`, (api) =>
    answered(api.GET("/v1/workflows/{workflow}/versions", { params: { path: { workflow: name }, query: { limit: 100 } } })),
  );
  const known = versions.data?.items ?? [];
  const asked = query.get("version");
  const shown = asked === null ? known[0] : known.find((version) => String(version.version) === asked);
  return (
    <View
      title={`Workflow ${name}`}
      aside={
        workflow.data?.live !== undefined && (
          <Act
            action="RetireWorkflow"
            label="Retire"
            title={`Retire ${name}?`}
            danger
            run={async (api) => void (await answered(api.POST("/v1/workflows/{workflow}/retire", path)))}
            done={() => {
              workflow.again();
              versions.again();
            }}
          >
            <p>Nobody can run it until another version is approved. Runs that have started go on.</p>
          </Act>
        )
      }
    >
      <Asked of={workflow} />
      <Part title="Versions">
        <Asked of={versions} />
        <Table
          label="Versions"
          rows={known}
          id={(version) => String(version.version)}
          empty="None."
          columns={[
            { name: "Version", of: (version) => <Link path={["workflows", name]} query={{ version: String(version.version) }}>{version.version}</Link> },
            { name: "State", of: (version) => <Badge of={version.state} tone={version.state === "live" ? "good" : "calm"} /> },
            { name: "By", of: (version) => <Code>{version.registered_by}</Code> },
            { name: "When", of: (version) => <When time={version.registered_at} /> },
          ]}
        />
      </Part>
      {shown && <Definition of={shown} />}
    </View>
  );
}

/** What a version does. */
export function Definition({ of: version }: { of: Version }): JSX.Element {
  const definition = version.definition as Record<string, unknown> & { steps: Record<string, unknown>[] };
  const text = (value: unknown): string => (typeof value === "string" ? value : value === undefined || value === null ? "–" : JSON.stringify(value));
  const parameters = Object.entries((definition["parameters"] ?? {}) as Record<string, object>);
  return (
    <Part title={`What version ${version.version} does`}>
      <Facts
        of={[
          ["For", definition["description"] ? text(definition["description"]) : undefined],
          ["Profile", definition["profile"] ? text(definition["profile"]) : "none of its own"],
          ["Hash", <Code>{version.hash}</Code>],
        ]}
      />
      <Table
        label="Steps"
        rows={definition.steps}
        id={(step) => text(step["id"])}
        empty="None."
        columns={[
          { name: "Step", of: (step) => text(step["id"]) },
          { name: "Mode", of: (step) => text(step["mode"]) },
          { name: "Pool", of: (step) => text(step["pool"]) },
          { name: "Tool", of: (step) => text(step["tool"]) },
          { name: "Command or agent", of: (step) => <Code>{text(step["command"] ?? step["agent"])}</Code> },
        ]}
      />
      <Table
        label="Parameters"
        rows={parameters}
        id={([name]) => name}
        empty="It takes no parameter."
        columns={[
          { name: "Parameter", of: ([name]) => <Code>{name}</Code> },
          { name: "What", of: ([, parameter]) => members(parameter) },
        ]}
      />
      <Copy label="The definition" text={JSON.stringify(definition, null, 2)} />
    </Part>
  );
}
