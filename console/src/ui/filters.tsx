// The filter bar. Filters stand in the place's query, so that a filtered list can be shared.

import type { JSX } from "preact";

import { go, to } from "../router";

export interface Filter {
  name: string;
  label: string;
  /** Its choices; any text if absent. */
  choices?: readonly string[];
  hint?: string;
  /** A moment, typed as the browser offers it, in UTC in the query. */
  time?: boolean;
  /** A UTC day. */
  date?: boolean;
  /** One of the choices is always taken. */
  required?: boolean;
}

/** A form whose submission goes to the same view with the filters that are set. */
export function Filters(props: { path: string[]; query: URLSearchParams; of: Filter[]; action?: string }): JSX.Element {
  const apply = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const set = props.of.map((filter): [string, string] => {
      const text = String(form.get(filter.name) ?? "").trim();
      return [filter.name, filter.time ? utc(text) : text];
    });
    go(to(props.path, Object.fromEntries(set)));
  };
  const given = props.of.some((filter) => props.query.has(filter.name));
  return (
    <form class="filters" role="search" onSubmit={apply} key={props.query.toString()}>
      {props.of.map((filter) => {
        const id = `filter-${filter.name}`;
        const value = props.query.get(filter.name) ?? "";
        return (
          <div key={filter.name}>
            <label for={id}>{filter.label}</label>
            {filter.choices ? (
              <select id={id} name={filter.name} defaultValue={value} value={value}>
                {!filter.required && <option value="">any</option>}
                {filter.choices.map((choice) => (
                  <option key={choice} value={choice}>
                    {choice}
                  </option>
                ))}
              </select>
            ) : filter.time ? (
              <input id={id} name={filter.name} type="datetime-local" step="1" defaultValue={local(value)} />
            ) : filter.date ? (
              <input id={id} name={filter.name} type="date" defaultValue={value} />
            ) : (
              <input id={id} name={filter.name} defaultValue={value} placeholder={filter.hint ?? ""} spellcheck={false} autocomplete="off" />
            )}
          </div>
        );
      })}
      <div class="buttons">
        <button type="submit" class="main">
          {props.action ?? "Filter"}
        </button>
        {given && (
          <button type="button" onClick={() => go(to(props.path))}>
            Clear
          </button>
        )}
      </div>
    </form>
  );
}

/** A moment as `datetime-local` has it, in UTC; empty if it is none. */
export function utc(text: string): string {
  const at = new Date(text);
  return text === "" || Number.isNaN(at.getTime()) ? "" : at.toISOString().replace(/\.\d+Z$/, "Z");
}

/** The other way round. */
export function local(text: string): string {
  const at = new Date(text);
  if (text === "" || Number.isNaN(at.getTime())) return "";
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
