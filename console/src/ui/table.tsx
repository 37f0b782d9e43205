// Tables, and the pages of a list.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";

import type { Api, Page } from "../api";
import { emptiness, LOADING, useLoad } from "../session";
import { many } from "../text";
import { Trouble } from "./basics";

export interface Column<T> {
  name: string;
  of: (item: T) => ComponentChildren;
}

/** Rows under named columns. Wide tables scroll by themselves, with the keyboard too. */
export function Table<T>(props: {
  label: string;
  columns: Column<T>[];
  rows: T[];
  id: (item: T) => string;
  empty: string;
}): JSX.Element {
  const busy = props.rows.length === 0 && props.empty === LOADING;
  return (
    <div class="table" role="region" aria-label={props.label} aria-busy={busy} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column.name} scope="col">
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.length === 0 ? (
            <tr>
              <td class="faint" colSpan={props.columns.length}>
                {props.empty}
              </td>
            </tr>
          ) : (
            props.rows.map((row) => (
              <tr key={props.id(row)}>
                {props.columns.map((column) => (
                  <td key={column.name}>{column.of(row)}</td>
                ))}
              </tr>
            ))
          )}
        </tbody>
      </table>
    </div>
  );
}

/** A list of the API, page by page. `load` gets the cursor of a page; `name` tells lists apart. */
export function Pages<T>(props: {
  name: string;
  label: string;
  noun: string;
  load: (api: Api, cursor: { cursor?: string }) => Promise<Page<T> & { note?: string }>;
  columns: Column<T>[] | ((again: () => void) => Column<T>[]);
  id: (item: T) => string;
  empty: string;
  /** What adds to the list. */
  adds?: (again: () => void) => ComponentChildren;
}): JSX.Element {
  const [trail, setTrail] = useState<{ name: string; cursors: string[] }>({ name: props.name, cursors: [] });
  const cursors = trail.name === props.name ? trail.cursors : [];
  const cursor = cursors.at(-1);
  const page = useLoad(`${props.name} ${cursor ?? ""}`, (api) => props.load(api, cursor === undefined ? {} : { cursor }));
  const turn = (next: string[]): void => setTrail({ name: props.name, cursors: next });
  const next = page.data?.next_cursor;
  const columns = typeof props.columns === "function" ? props.columns(page.again) : props.columns;
  return (
    <>
      <Trouble error={page.error} />
      <Table
        label={props.label}
        columns={columns}
        rows={page.data?.items ?? []}
        id={props.id}
        empty={emptiness(page, props.empty)}
      />
      <div class="pages">
        <p role="status">
          {page.data && `${many(page.data.items.length, props.noun)} on page ${cursors.length + 1}`}
          {page.data?.note && `. ${page.data.note}`}
        </p>
        {props.adds?.(page.again)}
        <button type="button" onClick={page.again}>
          Refresh
        </button>
        <button type="button" disabled={cursors.length === 0} onClick={() => turn(cursors.slice(0, -1))}>
          Previous page
        </button>
        <button type="button" disabled={next === undefined} onClick={() => next !== undefined && turn([...cursors, next])}>
          Next page
        </button>
      </div>
    </>
  );
}
