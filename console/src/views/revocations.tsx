// Revocations: what a new one would stop, how far its fan-out is, and lifting it.

import type { JSX } from "preact";

import { answered, type Schemas } from "../api";
import { go, to } from "../router";
import { useLoad, useMay } from "../session";
import { many } from "../text";
import { Act } from "../ui/action";
import { Asked, Badge, Code, Facts, Link, Part, Trouble, View, When } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Pages, Table } from "../ui/table";
import { ProfileLink } from "./run";

type Revocation = Schemas["Revocation"];

export function Revocations({ query }: { query: URLSearchParams }): JSX.Element {
  const state = query.get("state") === "lifted" ? "lifted" : "active";
  return (
    <View title="Revocations" aside={<Link path={["sealed"]}>All profiles</Link>}>
      <Filters path={["revocations"]} query={new URLSearchParams({ state })} of={[{ name: "state", label: "State", choices: ["active", "lifted"], required: true }]} />
      <Pages<Revocation>
        name={`revocations ${state}`}
        label="Revocations"
        noun="revocation"
        load={(api, cursor) => answered(api.GET("/v1/revocations", { params: { query: { state, ...cursor } } }))}
        id={(revocation) => revocation.revocation_id}
        empty={state === "active" ? "No key is revoked." : "No revocation has been lifted."}
        columns={(again) => [
          { name: "Key", of: (revocation) => <Link path={["revocations", revocation.revocation_id]}>{`${revocation.profile}/${revocation.key}`}</Link> },
          { name: "Kind", of: (revocation) => (revocation.hard ? "hard" : "soft") },
          { name: "Reason", of: (revocation) => revocation.reason },
          { name: "By", of: (revocation) => <Code>{revocation.actor}</Code> },
          { name: "When", of: (revocation) => <When time={revocation.at} /> },
          { name: "Actions", of: (revocation) => <Lift of={revocation} done={again} /> },
        ]}
      />
      <p>To revoke a key, open its profile.</p>
    </View>
  );
}

function Lift({ of: revocation, done }: { of: Revocation; done: () => void }): JSX.Element | null {
  if (revocation.lifted) return null;
  const path = { params: { path: { revocation_id: revocation.revocation_id } } };
  return (
    <Act
      action="Revoke"
      label="Lift"
      title="Lift this revocation?"
      run={async (api) => void (await answered(api.POST("/v1/revocations/{revocation_id}/lift", path)))}
      done={done}
    >
      <p>{`Sandboxes can start with ${revocation.key} of profile ${revocation.profile} again. Runs that were aborted stay so.`}</p>
    </Act>
  );
}

export function RevocationView({ id }: { id: string }): JSX.Element {
  const path = { params: { path: { revocation_id: id } } };
  const revocation = useLoad(id, (api) => answered(api.GET("/v1/revocations/{revocation_id}", path)));
  const view = revocation.data;
  return (
    <View title="Revocation" aside={view && <Lift of={view} done={revocation.again} />}>
      <Asked of={revocation} />
      {view && (
        <Facts
          of={[
            ["Revocation", <Code>{view.revocation_id}</Code>],
            ["State", <Badge of={view.lifted ? "lifted" : "active"} />],
            ["Kind", view.hard ? "hard: runs that hold the key are aborted" : "soft: nothing starts with the key"],
            ["Key", <Code>{view.key}</Code>],
            ["Profile", <ProfileLink of={view.profile} />],
            ["Reference", <Code>{view.uri}</Code>],
            ["Reason", view.reason],
            ["By", <Code>{view.actor}</Code>],
            ["When", <When time={view.at} />],
            ["Lifted", view.lifted && <When time={view.lifted.at} />],
            ["Lifted by", view.lifted && <Code>{view.lifted.actor}</Code>],
          ]}
        />
      )}
      {view?.fan_out_id && <FanOut id={view.fan_out_id} />}
    </View>
  );
}

/** How far a hard revocation has come. */
function FanOut({ id }: { id: string }): JSX.Element {
  const fan = useLoad(
    id,
    (api) => answered(api.GET("/v1/fan-outs/{fan_out_id}", { params: { path: { fan_out_id: id } } })),
    (seen) => (seen?.finished_at ? undefined : 1500),
  );
  const view = fan.data;
  const may = useMay();
  return (
    <Part title="Runs that it aborts">
      <Asked of={fan} />
      {view && (
        <>
          <Facts
            of={[
              ["Fan-out", <Badge of={view.finished_at ? "finished" : "goes on"} tone={view.finished_at ? "good" : "busy"} />],
              ["Runs aborted", view.runs_aborted],
              ["Tasks stopped", view.tasks_stopped],
              ["Tasks not stopped yet", view.tasks_unstopped],
              ["Sandboxes of workers told to stop", view.worker_sandboxes],
              ["Began", <When time={view.started_at} />],
              ["Finished", view.finished_at && <When time={view.finished_at} />],
            ]}
          />
          {may("ReadRuns") && view.unstopped && view.unstopped.length > 0 && (
            <Table
              label="Runs whose tasks are not stopped yet"
              rows={view.unstopped}
              id={(run) => run}
              empty="None."
              columns={[{ name: "Run", of: (run) => <Link path={["runs", run]}><Code>{run}</Code></Link> }]}
            />
          )}
        </>
      )}
    </Part>
  );
}

/** Revokes a key, after showing what that would abort. */
export function Revoke({ profile, name }: { profile: string; name: string }): JSX.Element {
  const keys = [{ profile, key: name }];
  return (
    <Act
      action="Revoke"
      label="Revoke"
      title={`Revoke ${name}?`}
      danger
      inputs={[
        { name: "kind", label: "Kind", choices: ["soft: nothing starts with it", "hard: also aborts the runs that hold it"] },
        { name: "reason", label: "Reason" },
      ]}
      run={async (api, { kind = "", reason = "" }) => {
        const body = { keys, reason, hard: kind.startsWith("hard") };
        const made = await answered(api.POST("/v1/revocations", { body }));
        const first = made.revocations[0];
        if (first) go(to(["revocations", first.revocation_id]));
      }}
    >
      <Preview keys={keys} />
    </Act>
  );
}

function Preview({ keys }: { keys: Schemas["ProfileKey"][] }): JSX.Element {
  const preview = useLoad(JSON.stringify(keys), (api) => answered(api.POST("/v1/revocations:preview", { body: { keys, hard: true } })));
  const view = preview.data;
  const runs = [...new Set(view?.runs.map((run) => run.run_id))];
  return (
    <>
      <Trouble error={preview.error} />
      <p role="status">{view ? `A hard revocation would abort ${many(runs.length, "run")}${view.more ? ", and more" : ""} now.` : "Asking what it would abort…"}</p>
      {runs.length > 0 && (
        <ul>
          {runs.slice(0, 10).map((run) => (
            <li key={run}>
              <Code>{run}</Code>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
