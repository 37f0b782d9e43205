// Runs: a list with filters.

import type { JSX } from "preact";

import { all, answered, type Api, given, type Page, type Schemas } from "../api";
import { Badge, Code, Labels, Link, View, When } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Pages } from "../ui/table";

type Run = Schemas["RunSummary"];

export const STATES = ["queued", "running", "succeeded", "failed", "aborted", "dead"] as const;
/** Rows of a page. */
const ROWS = 50;
/** How often the API is asked for one page: where few runs are meant, its own pages are short. */
const ASKED = 10;

export interface RunFilters {
  state: string;
  workflow: string;
  profile: string;
  label: string;
  from: string;
  to: string;
}

/** One page of runs, newest first. */
export async function search(api: Api, filters: RunFilters, cursor: { cursor?: string }): Promise<Page<Run> & { note?: string }> {
  const { state, ...texts } = filters;
  const query = { ...given(texts), ...(state && { state: state as Run["state"] }) };
  const items: Run[] = [];
  let next = cursor;
  for (let turn = 0; turn < ASKED; turn += 1) {
    const page: Page<Run> = await answered(api.GET("/v1/runs", { params: { query: { ...query, ...next, limit: ROWS - items.length } } }));
    items.push(...page.items);
    if (page.next_cursor === undefined) return { items };
    next = { cursor: page.next_cursor };
    if (items.length >= ROWS) return { items, next_cursor: page.next_cursor };
  }
  return { items, next_cursor: next.cursor ?? "", note: "Not all runs were looked at yet; the next page goes on" };
}

export function Runs({ query }: { query: URLSearchParams }): JSX.Element {
  const get = (name: string): string => query.get(name) ?? "";
  const filters: RunFilters = {
    state: get("state"),
    workflow: get("workflow"),
    profile: get("profile"),
    label: get("label"),
    from: get("from"),
    to: get("to"),
  };
  return (
    <View title="Runs">
      <Filters
        path={["runs"]}
        query={query}
        of={[
          { name: "state", label: "State", choices: STATES },
          { name: "workflow", label: "Workflow" },
          { name: "profile", label: "Profile", hint: "crm or system/base" },
          { name: "label", label: "Label", hint: "key=value" },
          { name: "from", label: "Enqueued from", time: true },
          { name: "to", label: "Enqueued before", time: true },
        ]}
      />
      <Pages<Run>
        name={JSON.stringify(filters)}
        label="Runs"
        noun="run"
        load={(api, cursor) => search(api, filters, cursor)}
        id={(run) => run.run_id}
        empty="No run is like this."
        columns={[
          {
            name: "Run",
            of: (run) => (
              <Link path={["runs", run.run_id]}>
                <Code>{run.run_id}</Code>
              </Link>
            ),
          },
          { name: "State", of: (run) => <Badge of={run.state} /> },
          { name: "Workflow", of: (run) => <Link path={["runs"]} query={{ workflow: run.workflow }}>{run.workflow}</Link> },
          { name: "Labels", of: (run) => <Labels of={run.labels} /> },
          { name: "Enqueued", of: (run) => <When time={run.created_at} /> },
        ]}
      />
    </View>
  );
}

/** All entries of a run's trail. It has a bounded number of steps and attempts. */
export async function entriesOf(api: Api, run: string): Promise<Schemas["AuditEntry"][]> {
  const ask = (cursor: { cursor?: string }): Promise<Page<Schemas["AuditEntry"]>> =>
    answered(api.GET("/v1/audit", { params: { query: { run, limit: 100, ...cursor } } }));
  return (await all(1000, ask)).items;
}
