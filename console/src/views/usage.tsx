// Usage and cost: of a project by workflow, profile, model and day; for operators by project.

import type { JSX } from "preact";

import { type Api, all, answered, type Page } from "../api";
import { emptiness, useLoad, useSeat } from "../session";
import { bytes, duration } from "../text";
import { Facts, Link, Part, Trouble, View } from "../ui/basics";
import { Bars } from "../ui/bars";
import { Filters } from "../ui/filters";
import { Table } from "../ui/table";
import { by, caveats, cost, day, days, dollars, type Row, total } from "../usage";

/** Rows that are read at most: more are no table for people. */
const ROWS = 2000;
const DAY = 86_400_000;

function ask(api: Api, from: string, to: string, group_by: string): Promise<{ items: Row[]; complete: boolean }> {
  const query = { from, to, group_by, limit: 100 };
  return all(ROWS, (cursor): Promise<Page<Row>> => answered(api.GET("/v1/usage", { params: { query: { ...query, ...cursor } } })));
}

export function Usage({ query }: { query: URLSearchParams }): JSX.Element {
  const { project } = useSeat().session.whoami;
  const operator = project === undefined;
  const groups = operator ? (["project", "model"] as const) : (["workflow", "profile", "model"] as const);
  const group = groups.find((one) => one === query.get("by")) ?? groups[0];
  const today = day(Date.now());
  const to = query.get("to") || today;
  const from = query.get("from") || day(Date.parse(to) - 6 * DAY);
  const byDay = useLoad(`day ${from} ${to}`, (api) => ask(api, from, to, "day"));
  const grouped = useLoad(`${group} ${from} ${to}`, (api) => ask(api, from, to, group === "project" ? "day" : group));
  const sum = byDay.data && total(byDay.data.items);
  const perDay = by(byDay.data?.items ?? [], (row) => row.day ?? "");
  // Where nothing has a price, the picture tells how much was done.
  const priced = sum?.cost_usd !== undefined;
  const what = priced ? "Cost" : "Attempts";
  const rows = by(grouped.data?.items ?? [], (row) => row[group] ?? "");
  const spans: [string, number][] = [["7 days", 6], ["30 days", 29], ["90 days", 89]];
  return (
    <View
      title="Usage"
      aside={
        <ul class="labels">
          {spans.map(([name, back]) => (
            <li key={name}>
              <Link path={["usage"]} query={{ by: query.get("by") ?? undefined, from: day(Date.now() - back * DAY), to: today }}>
                {name}
              </Link>
            </li>
          ))}
        </ul>
      }
    >
      <Filters
        path={["usage"]}
        query={new URLSearchParams({ by: group, from, to })}
        action="Show"
        of={[
          { name: "by", label: "By", choices: groups, required: true },
          { name: "from", label: "From (UTC day)", date: true },
          { name: "to", label: "To (UTC day)", date: true },
        ]}
      />
      <Trouble error={byDay.error ?? grouped.error} />
      <Facts
        of={[
          ["Cost", sum ? cost(sum) : "…"],
          ["of it for tokens", sum ? dollars(sum.tokens_usd) : "…"],
          ["of it for hosted sandboxes", sum ? dollars(sum.sandboxes_usd) : "…"],
          ["Attempts at steps", sum ? sum.attempts.toLocaleString("en") : "…"],
          ["Time of sandboxes", sum ? duration(sum.wall_ms) : "…"],
          ["Tokens in and out", sum ? `${sum.tokens.input_tokens.toLocaleString("en")} and ${sum.tokens.output_tokens.toLocaleString("en")}` : "…"],
        ]}
      />
      {sum && caveats(sum).map((text) => <p key={text}>{text}</p>)}
      <Part title={`${what} by day`}>
        <Bars
          label={`${what} by day`}
          of={days(from, to).map((name) => {
            const used = perDay.find((one) => one.name === name)?.used;
            const value = priced ? used?.cost_usd : used?.attempts;
            return { name, value: value ?? 0, told: priced ? dollars(value) : String(value ?? 0) };
          })}
        />
      </Part>
      <Part title={`By ${group}`}>
        <Table
          label={`Usage by ${group}`}
          rows={rows}
          id={(row) => row.name}
          empty={emptiness(grouped, "Nothing was used in these days.")}
          columns={[
            { name: group, of: (row) => <Name of={row.name} group={group} from={from} to={to} /> },
            { name: "Cost", of: (row) => cost(row.used) },
            { name: "Attempts", of: (row) => row.used.attempts.toLocaleString("en") },
            { name: "Time", of: (row) => duration(row.used.wall_ms) },
            { name: "Tokens in", of: (row) => row.used.tokens.input_tokens.toLocaleString("en") },
            { name: "of them cached", of: (row) => row.used.tokens.cached_input_tokens.toLocaleString("en") },
            { name: "Tokens out", of: (row) => row.used.tokens.output_tokens.toLocaleString("en") },
            { name: "Egress", of: (row) => bytes((row.used.egress_sent_bytes ?? 0) + (row.used.egress_received_bytes ?? 0)) },
          ]}
        />
        {grouped.data && !grouped.data.complete && <p>{`Only the first ${ROWS} rows were read; choose fewer days.`}</p>}
        <p class="faint">An attempt counts on the day of its end, by the prices of that day.</p>
      </Part>
    </View>
  );
}

/** What a row is of, with a link to the runs behind it where there is a list of them. */
function Name(props: { of: string; group: string; from: string; to: string }): JSX.Element {
  if (props.of === "") return <span class="faint">none</span>;
  if (props.group !== "workflow") return <>{props.of}</>;
  return (
    <Link path={["runs"]} query={{ workflow: props.of }}>
      {props.of}
    </Link>
  );
}
