// Contain: everything that stops the project's work, after showing what that is.

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { contain, type Counts, counts, newId, NOTHING, open } from "../contain";
import { told, useApi, useLoad, useSeat } from "../session";
import { Asked, Link, Part, View } from "../ui/basics";
import { Dialog } from "../ui/action";
import { Table } from "../ui/table";

/** What is stopped, and how, in the order in which it is. */
const WHAT: [keyof Counts, string, string][] = [
  ["keys", "Keys of profiles", "revoked hard: nothing starts with them, and what holds one is aborted"],
  ["workers", "Workers and Fargate pools", "workers are revoked, pools drained: nobody claims anything"],
  ["enrolment_keys", "Enrolment keys", "revoked: no worker registers"],
  ["tokens", "Other API tokens", "revoked, if you ask for it: nobody enqueues anything"],
  ["runs", "Unfinished runs", "cancelled"],
];

export function Contain(): JSX.Element {
  const { actor } = useSeat().session.whoami;
  const api = useApi();
  const found = useLoad("contain", (client) => open(client, actor));
  const [asks, setAsks] = useState<{ reason: string; tokens: boolean }>();
  const [done, setDone] = useState<Counts>();
  // Who goes on after a failure goes on with the same containment.
  const [id] = useState(() => newId(Date.now()));
  const [state, setState] = useState<"ready" | "busy" | "done">("ready");
  const [error, setError] = useState<string>();
  const ask = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setAsks({ reason: String(form.get("reason") ?? "").trim(), tokens: form.get("tokens") !== null });
  };
  const go = async (reason: string, tokens: boolean): Promise<void> => {
    setAsks(undefined);
    setState("busy");
    setError(undefined);
    setDone(NOTHING);
    try {
      setDone(await contain(api, { id, actor, reason, tokens }, setDone));
      setState("done");
    } catch (failure) {
      setError(`${told(failure)} What was stopped stays so. Press Contain again to go on with the rest.`);
      setState("ready");
    }
    found.again();
  };
  const now = found.data && counts(found.data);
  return (
    <View title="Contain">
      <p>
        For an incident: it stops all that the project does now, and what it could begin. The audit trail has it as one containment, with your
        reason at each revoked key. Runs and revoked tokens do not come back; revocations of keys can be lifted, drained pools resumed, and workers registered again.
      </p>
      <Asked of={found} />
      {now && (
        <Table
          label="What it stops"
          rows={WHAT}
          id={([name]) => name}
          empty=""
          columns={[
            { name: "What", of: ([, what]) => what },
            { name: "How", of: ([, , how]) => how },
            { name: "There are", of: ([name]) => now[name] },
            ...(done ? [{ name: "Stopped", of: ([name]: (typeof WHAT)[number]) => done[name] }] : []),
          ]}
        />
      )}
      {done && (
        <p>
          <Link path={["audit"]} query={{ containment: id }}>
            This containment, in the audit trail
          </Link>
        </p>
      )}
      <p role="status">{state === "busy" ? "Stopping…" : state === "done" ? "The project is contained." : ""}</p>
      {error !== undefined && (
        <p class="trouble" role="alert">
          {error}
        </p>
      )}
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
            <button type="submit" class="danger" disabled={now === undefined || state === "busy"}>
              Contain
            </button>
          </div>
        </form>
      </Part>
      {asks && now && (
        <Dialog title="Stop everything of this project?" onClose={() => setAsks(undefined)}>
          <ul>
            {WHAT.filter(([name]) => name !== "tokens" || asks.tokens).map(([name, what]) => (
              <li key={name}>{`${what}: ${now[name]}`}</li>
            ))}
          </ul>
          <p>{`Reason: ${asks.reason}`}</p>
          <div class="buttons">
            <button type="button" class="danger" onClick={() => void go(asks.reason, asks.tokens)}>
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
