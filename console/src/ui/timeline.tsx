// What happened, in its order.

import type { ComponentChildren, JSX } from "preact";

export interface Moment {
  key: string;
  at: string;
  title: ComponentChildren;
  detail?: ComponentChildren;
  by?: ComponentChildren;
}

export function Timeline(props: { of: Moment[]; label: string }): JSX.Element {
  return (
    <ol class="timeline" aria-label={props.label}>
      {props.of.map((moment) => (
        <li key={moment.key}>
          <time dateTime={moment.at}>{moment.at.replace("T", " ").replace(/Z$/, "")}</time>
          <div>
            <strong>{moment.title}</strong>
            {moment.by && <span class="faint"> by {moment.by}</span>}
            {moment.detail && <div class="detail">{moment.detail}</div>}
          </div>
        </li>
      ))}
    </ol>
  );
}
