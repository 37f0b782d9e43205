// Sealed: profiles with their versions, and what a run would get.

import type { JSX } from "preact";

import { all, answered, type Schemas } from "../api";
import { type Change, deliveryInWords, diff, egressInWords, grants } from "../diff";
import { emptiness, useLoad, useMay, useSeat } from "../session";
import { words } from "../text";
import { Asked, Badge, Code, Facts, Labels, Link, Part, Trouble, View, When } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Pages, Table } from "../ui/table";
import { ProfileLink } from "./run";
import { Revoke } from "./revocations";

type Profile = Schemas["Profile"];

/** Versions of a profile that are read to compare. */
const VERSIONS = 500;

export function Sealed(): JSX.Element {
  const may = useMay();
  const { project } = useSeat().session.whoami;
  return (
    <View
      title={project === undefined ? "Sealed: system profiles" : "Sealed: profiles"}
      aside={
        <nav class="buttons" aria-label="Sealed">
          {may("WriteProfile") && <Link path={["edit"]}>New profile</Link>}
          {project !== undefined && <Link path={["cascade"]}>Cascade preview</Link>}
          <Link path={["revocations"]}>Revocations</Link>
        </nav>
      }
    >
      <Pages<Profile>
        name="profiles"
        label="Profiles"
        noun="profile"
        load={(api, cursor) => answered(api.GET("/v1/profiles", { params: { query: cursor } }))}
        id={(profile) => profile.name}
        empty="There is no profile yet: sealfleet profile apply -f FILE"
        columns={[
          { name: "Profile", of: (profile) => <Link path={["sealed", profile.name]}>{profile.name}</Link> },
          { name: "Version", of: (profile) => profile.version },
          { name: "Secrets", of: (profile) => Object.keys(profile.secrets ?? {}).length },
          { name: "Variables", of: (profile) => Object.keys(profile.env ?? {}).length },
          { name: "Tools", of: (profile) => (profile.tools ? Object.keys(profile.tools).length : "no list") },
          { name: "Egress", of: (profile) => egressInWords(profile.egress) },
          { name: "Changed", of: (profile) => <When time={profile.updated_at} /> },
        ]}
      />
      {project !== undefined && <Bound />}
    </View>
  );
}

/** Which profiles the project binds below each run's own. */
function Bound(): JSX.Element {
  const bound = useLoad("bound", (api) => answered(api.GET("/v1/cascade")));
  const { system, project, workflows } = bound.data ?? {};
  return (
    <Part title="Bound below each run's own profile">
      <Asked of={bound} />
      <Facts
        of={[
          ["System", bound.data && (system ?? "none")],
          ["Project", bound.data && (project ? <ProfileLink of={project} /> : "none")],
          ...Object.entries(workflows ?? {}).map(([workflow, profile]): [string, JSX.Element] => [`Workflow ${workflow}`, <ProfileLink of={profile} />]),
        ]}
      />
    </Part>
  );
}

export function ProfileView({ name, query }: { name: string; query: URLSearchParams }): JSX.Element {
  const may = useMay();
  const { project } = useSeat().session.whoami;
  const profile = useLoad(name, (api) => answered(api.GET("/v1/profiles/{name}", { params: { path: { name } } })));
  const versions = useLoad(`versions ${name}`, (api) =>
    all(VERSIONS, (cursor) => answered(api.GET("/v1/profiles/{name}/versions", { params: { path: { name }, query: { limit: 100, ...cursor } } }))),
  );
  const view = profile.data;
  const known = versions.data?.items ?? [];
  return (
    <View
      title={`Profile ${name}`}
      aside={
        <nav class="buttons" aria-label="Profile">
          {may("WriteProfile") && <Link path={["edit", name]}>Edit</Link>}
          <Link path={["sealed"]}>All profiles</Link>
        </nav>
      }
    >
      <Asked of={profile} />
      {view && (
        <>
          <Facts
            of={[
              ["Version", view.version],
              ["Changed", <When time={view.updated_at} />],
              ["Workflows that may use it", view.allowed_workflows?.join(", ") || "all"],
              ["Callers", view.registered_only && "registered workflows only"],
              ["Egress", egressInWords(view.egress)],
              ["Tokens for", view.identity && (view.identity.audiences?.join(", ") || "nobody")],
              ["Removes", view.remove?.join(", ")],
              ["Tags", view.tags && <Labels of={view.tags} />],
            ]}
          />
          <Part title="Secrets, by reference">
            <Table
              label="Secrets"
              rows={Object.entries(view.secrets ?? {})}
              id={([key]) => key}
              empty="It has no secret."
              columns={[
                { name: "Key", of: ([key]) => <Code>{key}</Code> },
                { name: "Reference", of: ([, uri]) => <Code>{uri}</Code> },
                { name: "Reaches a step as", of: ([key]) => deliveryInWords(view.delivery?.[key]) },
                ...(may("ReadAudit") ? [{ name: "Path", of: ([key]: [string, string]) => <Link path={["path"]} query={{ profile: name, key }}>Path</Link> }] : []),
                ...(may("Revoke") ? [{ name: "Actions", of: ([key]: [string, string]) => <Revoke profile={profileRef(name, project)} name={key} /> }] : []),
              ]}
            />
          </Part>
          <Matrix of={view} />
          <Part title="Variables">
            <Table
              label="Variables"
              rows={Object.entries(view.env ?? {})}
              id={([key]) => key}
              empty="It has no plain variable."
              columns={[
                { name: "Name", of: ([key]) => <Code>{key}</Code> },
                { name: "Value", of: ([, value]) => value },
              ]}
            />
          </Part>
        </>
      )}
      {(view ?? profile.error) !== undefined && (
        <Part title="Versions">
          <Trouble error={versions.error} />
          <Table
            label="Versions"
            rows={known}
            id={(version) => String(version.version)}
            empty={emptiness(versions, "None.")}
            columns={[
              { name: "Version", of: (version) => version.version },
              { name: "By", of: (version) => <Code>{version.by}</Code> },
              { name: "When", of: (version) => <When time={version.updated_at} /> },
              { name: "State", of: (version) => (version.deleted ? <Badge of="deleted" tone="bad" /> : "–") },
              { name: "Compare", of: (version) => version.version > 1 && <Link path={["sealed", name]} query={{ from: String(version.version - 1), to: String(version.version) }}>{`with ${version.version - 1}`}</Link> },
            ]}
          />
          {known.length > 1 && <Compare name={name} query={query} versions={known} />}
        </Part>
      )}
    </View>
  );
}

/** An operator's profiles are the system's. */
export function profileRef(name: string, project: string | undefined): string {
  return project === undefined && !name.startsWith("system/") ? `system/${name}` : name;
}

function Compare({ name, query, versions }: { name: string; query: URLSearchParams; versions: Schemas["ProfileVersionView"][] }): JSX.Element {
  const numbers = versions.map((version) => String(version.version));
  const last = Math.max(...versions.map((version) => version.version));
  const asked = new URLSearchParams({ from: query.get("from") ?? String(last - 1), to: query.get("to") ?? String(last) });
  const of = (which: string): Schemas["ProfileVersionView"] | undefined => versions.find((version) => String(version.version) === asked.get(which));
  const [before, after] = [of("from"), of("to")];
  return (
    <>
      <h3>{`From version ${asked.get("from")} to version ${asked.get("to")}`}</h3>
      <Filters
        path={["sealed", name]}
        query={asked}
        action="Compare"
        of={[
          { name: "from", label: "From version", choices: numbers },
          { name: "to", label: "To version", choices: numbers },
        ]}
      />
      <Changes rows={before && after ? diff(before, after) : []} empty={before && after ? "They do not differ." : "There is no such version."} />
    </>
  );
}

/** What changes from one content to another. */
export function Changes(props: { rows: Change[]; empty: string }): JSX.Element {
  return (
    <Table
      label="Differences"
      rows={props.rows}
      id={(change) => change.what}
      empty={props.empty}
      columns={[
        { name: "What", of: (change) => <Code>{change.what}</Code> },
        { name: "Before", of: (change) => (change.before === undefined ? <span class="faint">not there</span> : <del>{change.before}</del>) },
        { name: "After", of: (change) => (change.after === undefined ? <span class="faint">not there</span> : <ins>{change.after}</ins>) },
      ]}
    />
  );
}

/** Which tool sees which secret. */
function Matrix({ of: profile }: { of: Profile }): JSX.Element {
  const tools = Object.keys(profile.tools ?? {});
  const keys = Object.keys(profile.secrets ?? {});
  return (
    <Part title="Who sees which secret">
      {profile.tools === undefined || profile.tools === null ? (
        <p>It has no access list of its own: it does not narrow what tools see.</p>
      ) : (
        <>
          <p>A tool that is not named here sees none of them, and neither does a step without a tool.</p>
          <Table
            label="Access list"
            rows={keys}
            id={(key) => key}
            empty="It has no secret."
            columns={[
              { name: "Key", of: (key) => <Code>{key}</Code> },
              ...tools.map((tool) => ({
                name: tool,
                of: (key: string) => (grants(profile.tools, tool, key) ? <Badge of="sees it" tone="good" /> : <span class="faint">no</span>),
              })),
            ]}
          />
        </>
      )}
    </Part>
  );
}

/** What a run would start with now, and where each key comes from. */
export function Cascade({ query }: { query: URLSearchParams }): JSX.Element {
  const workflow = query.get("workflow") ?? "";
  const body = {
    workflow,
    ...(query.get("profile") && { profile: query.get("profile") }),
    ...(query.get("tool") && { tool: query.get("tool") }),
  };
  return (
    <View title="Cascade preview" aside={<Link path={["sealed"]}>All profiles</Link>}>
      <p>What a run would start with now. The later level wins, key by key: system, project, workflow, run.</p>
      <Filters
        path={["cascade"]}
        query={query}
        action="Resolve"
        of={[
          { name: "workflow", label: "Workflow" },
          { name: "profile", label: "Profile of the run" },
          { name: "tool", label: "Tool" },
        ]}
      />
      {workflow !== "" && <Resolved body={body} />}
    </View>
  );
}

function Resolved({ body }: { body: Schemas["ResolveCascade"] }): JSX.Element {
  const resolved = useLoad(JSON.stringify(body), (api) => answered(api.POST("/v1/cascade/resolve", { body })));
  const outcome = resolved.data;
  const origin = (of: Schemas["Origin"]): JSX.Element => (
    <>
      {words(of.level)} {of.profile && <ProfileLink of={of.profile} />}
    </>
  );
  return (
    <>
      <Asked of={resolved} />
      {outcome && (
        <>
          <Facts
            of={[
              ["Profiles", outcome.profiles.map((use) => `${use.level}: ${use.profile} version ${use.version}`).join(", ") || "none"],
              ["Egress", egressInWords(outcome.egress)],
            ]}
          />
          <Table
            label="Keys"
            rows={outcome.keys}
            id={(key) => key.key}
            empty="It starts with no key."
            columns={[
              { name: "Key", of: (key) => <Code>{key.key}</Code> },
              { name: "From", of: (key) => origin(key.origin) },
              { name: "Is", of: (key) => (key.secret ? <Code>{key.secret}</Code> : `variable ${key.value ?? ""}`) },
              { name: body.tool ? `Tool ${body.tool}` : "A step without a tool", of: (key) => (key.seen ? <Badge of="sees it" tone="good" /> : <span class="faint">does not see it</span>) },
              { name: "Revoked", of: (key) => (key.revoked_by ? <Link path={["revocations", key.revoked_by]}>by this revocation</Link> : "–") },
            ]}
          />
          <Part title="Removed on the way">
            <Table
              label="Removed keys"
              rows={Object.entries(outcome.removed)}
              id={([key]) => key}
              empty="Nothing."
              columns={[
                { name: "Key", of: ([key]) => <Code>{key}</Code> },
                { name: "By", of: ([, by]) => origin(by) },
              ]}
            />
          </Part>
        </>
      )}
    </>
  );
}
