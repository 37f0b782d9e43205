// What operators look after: projects, their limits and their tokens. An admin sees the tokens of
// the own project here.

import type { JSX } from "preact";

import { answered, type Schemas } from "../api";
import { useLoad, useSeat } from "../session";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Facts, Link, Part, View, When } from "../ui/basics";
import { type Column, Pages } from "../ui/table";
import { Once, PoolsOf } from "./fleet";

type Token = Schemas["TokenView"];

const ROLES = ["viewer", "member", "admin"] as const;

export function Projects(): JSX.Element {
  return (
    <View title="Projects">
      <Pages<Schemas["ProjectSummary"]>
        name="projects"
        label="Projects"
        noun="project"
        load={(api, cursor) => answered(api.GET("/v1/projects", { params: { query: cursor } }))}
        id={(project) => project.project}
        empty="There is no project: deploy its stack, then sealfleet project create"
        columns={[{ name: "Project", of: ({ project }) => <Link path={["projects", project]}>{project}</Link> }]}
      />
    </View>
  );
}

export function ProjectView({ project }: { project: string }): JSX.Element {
  const path = { params: { path: { project } } };
  const loaded = useLoad(project, (api) => answered(api.GET("/v1/projects/{project}", path)));
  const view = loaded.data;
  return (
    <View title={`Project ${project}`} aside={<Link path={["projects"]}>All projects</Link>}>
      <Asked of={loaded} />
      {view && (
        <>
          <Facts
            of={[
              ["Onboarded", <When time={view.created_at} />],
              ["Version", view.version],
            ]}
          />
          <Part
            title="Limits"
            aside={
              <Act
                action="SetLimits"
                label="Set limits"
                title={`Limits of ${project}`}
                inputs={[
                  { name: "rate", label: "Requests per second", type: "number", value: String(view.limits.requests_per_second) },
                  { name: "burst", label: "Requests at once", type: "number", value: String(view.limits.burst) },
                ]}
                run={async (api, { rate, burst }) => {
                  const limits = { requests_per_second: Number(rate), burst: Number(burst) };
                  await answered(api.PUT("/v1/projects/{project}/limits", { ...path, body: { limits } }));
                }}
                done={loaded.again}
              >
                <p>Callers of the project above this rate are told to wait. What takes power away is never held up.</p>
              </Act>
            }
          >
            <Facts
              of={[
                ["Requests per second", view.limits.requests_per_second],
                ["At once", view.limits.burst],
                ["Whose", view.limits.own ? "its own" : "the deployment's"],
              ]}
            />
          </Part>
          <PoolsOf project={project} />
          <Part title="Tokens">
            <TokensOf project={project} named />
          </Part>
        </>
      )}
    </View>
  );
}

export function Tokens(): JSX.Element {
  const { project = "" } = useSeat().session.whoami;
  return (
    <View title="Tokens">
      <TokensOf project={project} />
    </View>
  );
}

/** The tokens of a project. Operators name it, admins do not. */
function TokensOf({ project, named = false }: { project: string; named?: boolean }): JSX.Element {
  const query = named ? { project } : {};
  const columns = (again: () => void): Column<Token>[] => [
    { name: "Token", of: (token) => <Code>{token.token_id}</Code> },
    { name: "Role", of: (token) => token.role },
    { name: "Note", of: (token) => token.note ?? "–" },
    { name: "Of login", of: (token) => (token.login ? <Code>{token.login}</Code> : "–") },
    { name: "State", of: (token) => <Badge {...stateOf(token)} /> },
    { name: "Created", of: (token) => <When time={token.created_at} /> },
    { name: "Expires", of: (token) => <When time={token.expires_at} /> },
    {
      name: "Actions",
      of: (token) =>
        stateOf(token).of === "valid" && (
          <Act
            action="RevokeToken"
            label="Revoke"
            title="Revoke this token?"
            danger
            run={async (api) => {
              const params = { path: { token_id: token.token_id }, query };
              await answered(api.DELETE("/v1/tokens/{token_id}", { params }));
            }}
            done={again}
          >
            <p>Whoever uses it is refused from now on. This cannot be undone.</p>
          </Act>
        ),
    },
  ];
  return (
    <Pages<Token>
      name={`tokens ${project}`}
      label="Tokens"
      noun="token"
      load={(api, cursor) => answered(api.GET("/v1/tokens", { params: { query: { ...query, ...cursor } } }))}
      id={(token) => token.token_id}
      empty="There is no token."
      columns={columns}
      adds={(again) => <NewToken {...query} done={again} />}
    />
  );
}

/** The button that makes a token of a project. */
function NewToken({ project, done }: { project?: string; done: () => void }): JSX.Element {
  return (
    <Act
      action="CreateToken"
      label="New token"
      title="New token"
      inputs={[
        { name: "role", label: "Role", choices: ROLES },
        { name: "note", label: "Note", required: false },
        { name: "days", label: "Days until it expires", type: "number", value: "30" },
      ]}
      run={async (api, { role, note = "", days }) => {
        const body = {
          role: role as (typeof ROLES)[number],
          expires_in_seconds: Number(days) * 86_400,
          ...(note !== "" && { note }),
          ...(project !== undefined && { project }),
        };
        const made = await answered(api.POST("/v1/tokens", { body }));
        return <Once what="token" secret={made.token} />;
      }}
      done={done}
    />
  );
}

function stateOf(token: Token): { of: string; tone: string } {
  if (token.revoked_at) return { of: "revoked", tone: "bad" };
  return Date.parse(token.expires_at) <= Date.now() ? { of: "expired", tone: "warn" } : { of: "valid", tone: "good" };
}
