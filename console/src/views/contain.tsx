// Contain: everything that stops the project's work, after showing what that is. The control plane
// drives it to its end; the view shows how far it has come.

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";

import { answered, type Schemas } from "../api";
import { go, to } from "../router";
import { told, useApi, useLoad } from "../session";
import { Asked, Badge, Code, Facts, Link, Part, Trouble, View, When } from "../ui/basics";
import { Dialog } from "../ui/action";
import { Pages, Table } from "../ui/table";

type Shown = Schemas["ContainmentView"];
type Tally = Schemas["Tally"];

/** What is stopped, and how, in the order in which it is. */
const WHAT: [keyof Tally, string, string][] = [
  ["keys", "Keys of profiles", "revoked hard: nothing starts with them, and what holds one is aborted"],
  ["workers", "Workers and Fargate pools", "workers are revoked, pools drained: nobody claims anything"],
  ["enrolment_keys", "Enrolment keys", "revoked: no worker registers"],
  ["tokens", "Other API tokens", "revoked, if you ask for it: nobody enqueues anything"],
  ["runs", "Unfinished runs", "cancelled, or aborted because they hold a key"],
];

const STATES: Record<Shown["state"], [string, string]> = {
  going_on: ["goes on", "busy"],
  contained: ["contained", "good"],
  incomplete: ["incomplete", "bad"],
};

function State({ of }: { of: Shown["state"] }): JSX.Element {
  const [name, tone] = STATES[of];
  return <Badge of={name} tone={tone} />;
}

export function Contain(): JSX.Element {
  const api = useApi();
  const found = useLoad("contain", (client) => answered(client.POST("/v1/containments:preview", { body: { tokens: true } })));
  const [asks, setAsks] = useState<{ reason: string; tokens: boolean }>();
  // Of one request: sending the same again after a lost answer begins no second one.
  const once = useRef(new Map<string, string>());
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const ask = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setAsks({ reason: String(form.get("reason") ?? "").trim(), tokens: form.get("tokens") !== null });
  };
  const contain = async (body: { reason: string; tokens: boolean }): Promise<void> => {
    setAsks(undefined);
    setBusy(true);
    setError(undefined);
    try {
      const request = JSON.stringify(body);
      const key = once.current.get(request) ?? crypto.randomUUID();
      once.current.set(request, key);
      const header = { "Idempotency-Key": key };
      const begun = await answered(api.POST("/v1/containments", { params: { header }, body }));
      go(to(["contain", begun.containment_id]));
    } catch (failure) {
      setError(told(failure));
      setBusy(false);
    }
  };
  const open = found.data;
  return (
    <View title="Contain">
      <p>
        For an incident: it stops all that the project does now, and what it could begin. It goes on until nothing is left, whatever becomes of this
        page. The audit trail has it as one containment, with your reason. Runs and revoked tokens do not come back; revocations of keys can be
        lifted, drained pools resumed, and workers registered again.
      </p>
      <Asked of={found} />
      {open && (
        <Table
          label="What it stops"
          rows={WHAT}
          id={([name]) => name}
          empty=""
          columns={[
            { name: "What", of: ([, what]) => what },
            { name: "How", of: ([, , how]) => how },
            { name: "There are", of: ([name]) => open[name] },
          ]}
        />
      )}
      {open?.more && <p>There is more: not all was counted.</p>}
      <p role="status">{busy ? "Stopping…" : ""}</p>
      <Trouble error={error} />
      <Part title="Stop it all">
        <form onSubmit={ask}>
          <div class="field narrow">
            <label for="contain-reason">Reason, for the audit trail</label>
            <input id="contain-reason" name="reason" required autocomplete="off" spellcheck={false} />
          </div>
          <p>
            <input id="contain-tokens" name="tokens" type="checkbox" /> <label for="contain-tokens" class="inline">Also revoke all other API tokens</label>
          </p>
          <div class="buttons field">
            <button type="submit" class="danger" disabled={open === undefined || busy}>
              Contain
            </button>
          </div>
        </form>
      </Part>
      <Part title="Containments so far">
        <Pages<Shown>
          name="containments"
          label="Containments"
          noun="containment"
          load={(client, cursor) => answered(client.GET("/v1/containments", { params: { query: cursor } }))}
          id={(containment) => containment.containment_id}
          empty="The project was never contained."
          columns={[
            { name: "When", of: (containment) => <Link path={["contain", containment.containment_id]}><When time={containment.started_at} /></Link> },
            { name: "State", of: (containment) => <State of={containment.state} /> },
            { name: "Reason", of: (containment) => containment.reason },
            { name: "By", of: (containment) => <Code>{containment.actor}</Code> },
          ]}
        />
      </Part>
      {asks && open && (
        <Dialog title="Stop everything of this project?" onClose={() => setAsks(undefined)}>
          <ul>
            {WHAT.filter(([name]) => name !== "tokens" || asks.tokens).map(([name, what]) => (
              <li key={name}>{`${what}: ${open[name]}`}</li>
            ))}
          </ul>
          <p>{`Reason: ${asks.reason}`}</p>
          <div class="buttons">
            <button type="button" class="danger" onClick={() => void contain(asks)}>
              Contain
            </button>
            <button type="button" onClick={() => setAsks(undefined)}>
              Back
            </button>
          </div>
        </Dialog>
      )}
    </View>
  );
}

/** How far a containment has come. */
export function Containment({ id }: { id: string }): JSX.Element {
  const shown = useLoad(
    id,
    (api) => answered(api.GET("/v1/containments/{containment_id}", { params: { path: { containment_id: id } } })),
    (seen) => (seen?.ended_at ? undefined : 1500),
  );
  const view = shown.data;
  return (
    <View title="Containment" aside={<Link path={["contain"]}>All containments</Link>}>
      <Asked of={shown} />
      {view && (
        <>
          <p role="status">
            {view.state === "contained" ? "The project is contained." : view.state === "going_on" ? "It goes on, also without this page." : ""}
          </p>
          {view.state === "incomplete" && (
            <Trouble error="Something is left: new work keeps coming, or it cannot be stopped. Revoke the tokens that enqueue it, and contain again." />
          )}
          <Facts
            of={[
              ["State", <State of={view.state} />],
              ["Reason", view.reason],
              ["By", <Code>{view.actor}</Code>],
              ["Began", <When time={view.started_at} />],
              ["Ended", view.ended_at && <When time={view.ended_at} />],
              ["Rounds", view.rounds],
            ]}
          />
          <Table
            label="What it has stopped"
            rows={WHAT}
            id={([name]) => name}
            empty=""
            columns={[
              { name: "What", of: ([, what]) => what },
              { name: "How", of: ([, , how]) => how },
              { name: "Stopped", of: ([name]) => view.stopped[name] },
              ...(view.left ? [{ name: "Left", of: ([name]: (typeof WHAT)[number]) => view.left?.[name] ?? 0 }] : []),
            ]}
          />
          <p>
            <Link path={["audit"]} query={{ containment: id }}>
              This containment, in the audit trail
            </Link>
          </p>
        </>
      )}
    </View>
  );
}
