// The small parts of which views are made.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";

import { ago, words } from "../text";
import { to } from "../router";
import type { Loaded } from "../session";

/** A link to another view. There are no other links. */
export function Link(props: { path: string[]; query?: Record<string, string | undefined>; children: ComponentChildren }): JSX.Element {
  return <a href={to(props.path, props.query)}>{props.children}</a>;
}

/** An id or a name, in the letters of a machine. */
export function Code(props: { children: ComponentChildren }): JSX.Element {
  return <code>{props.children}</code>;
}

/** When something was or will be: how long from now, and on demand the very moment. */
export function When(props: { time: string | undefined | null }): JSX.Element {
  if (!props.time) return <span class="faint">–</span>;
  return (
    <time dateTime={props.time} title={props.time}>
      {ago(props.time, Date.now())}
    </time>
  );
}

const TONES: Record<string, string> = {
  succeeded: "good",
  approved: "good",
  active: "bad",
  running: "busy",
  leased: "busy",
  queued: "calm",
  blocked: "calm",
  pending: "warn",
  waiting: "warn",
  lost: "warn",
  dead: "bad",
  failed: "bad",
  aborted: "warn",
  rejected: "bad",
  revoked: "bad",
};

/** A state: a word, never a colour alone. */
export function Badge(props: { of: string; tone?: string }): JSX.Element {
  return <span class={`badge ${props.tone ?? TONES[props.of] ?? "calm"}`}>{words(props.of)}</span>;
}

/** Names and what they stand for. */
export function Facts(props: { of: [string, ComponentChildren][] }): JSX.Element {
  const told = props.of.filter(([, what]) => what !== undefined && what !== null && what !== false && what !== "");
  return (
    <dl class="facts">
      {told.map(([name, what]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A part of a view under its own heading. */
export function Part(props: { title: string; aside?: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <section class="part">
      <div class="part-head">
        <h2>{props.title}</h2>
        {props.aside}
      </div>
      {props.children}
    </section>
  );
}

/** A view: its heading, which takes the focus when the view is opened, and what it says. */
export function View(props: { title: string; aside?: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>{props.title}</h1>
        {props.aside}
      </div>
      {props.children}
    </>
  );
}

/** What could not be loaded, and why. */
export function Trouble(props: { error: string | undefined }): JSX.Element | null {
  return props.error === undefined ? null : (
    <p class="trouble" role="alert">
      {props.error}
    </p>
  );
}

/** What stands in the place of an answer that is not there yet, or could not be had. */
export function Asked(props: { of: Loaded<unknown> }): JSX.Element | null {
  const { data, error } = props.of;
  if (error !== undefined) return <Trouble error={error} />;
  return data === undefined ? (
    <p class="faint" role="status">
      Loading…
    </p>
  ) : null;
}

/** Labels, `key=value` each. */
export function Labels(props: { of: Record<string, string> | undefined }): JSX.Element {
  const pairs = Object.entries(props.of ?? {});
  if (pairs.length === 0) return <span class="faint">–</span>;
  return (
    <ul class="labels">
      {pairs.map(([name, value]) => (
        <li key={name}>{`${name}=${value}`}</li>
      ))}
    </ul>
  );
}

/** Text to take elsewhere: a command, a rule, a chain. */
export function Copy(props: { label: string; text: string }): JSX.Element {
  const [done, setDone] = useState(false);
  const copy = (): void => {
    void navigator.clipboard?.writeText(props.text).then(() => setDone(true));
  };
  return (
    <div class="copy">
      <pre tabIndex={0} aria-label={props.label}>
        {props.text}
      </pre>
      <button type="button" onClick={copy}>
        {done ? "Copied" : "Copy"}
      </button>
    </div>
  );
}
