// The audit trail: search it, read an entry, and how to verify it.

import type { JSX } from "preact";
import { useRef } from "preact/hooks";

import { all, answered, given, type Schemas } from "../api";
import { emptiness, useLoad, useSeat } from "../session";
import { members, words } from "../text";
import { Asked, Code, Copy, Facts, Link, Part, Trouble, View } from "../ui/basics";
import { Filters } from "../ui/filters";
import { type Column, Pages, Table } from "../ui/table";
import { Timeline } from "../ui/timeline";
import { moments } from "./run";

type Entry = Schemas["AuditEntry"];

/** The filters of the API, each as the place's query has it. */
const FILTERS = ["run", "profile", "key", "actor", "type", "containment", "from", "to"] as const;

/** Milliseconds between two looks at what came. */
const LOOKS = 2000;
/** How far each look reaches back: entries come a moment after what they tell, and not in order. */
const BACK = 30_000;
/** How many entries the live view keeps. */
const KEPT = 200;

const COLUMNS: Column<Entry>[] = [
  { name: "When", of: (entry) => <Link path={["audit", entry.event_id]}>{entry.at}</Link> },
  { name: "Events", of: (entry) => entry.events.map((event) => words(event.type)).join(", ") },
  { name: "By", of: (entry) => <Code>{entry.actor}</Code> },
  {
    name: "About",
    of: (entry) =>
      entry.run_id !== undefined ? (
        <Link path={["runs", entry.run_id]}>
          <Code>{entry.run_id}</Code>
        </Link>
      ) : (
        <span class="clip">{entry.events.map((event) => members(event)).join("; ")}</span>
      ),
  },
];

export function Audit({ query }: { query: URLSearchParams }): JSX.Element {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const { project } = useSeat().session.whoami;
  const title = project === undefined ? "Audit trail of the operators" : "Audit trail";
  if (query.has("live")) {
    return (
      <View title={`${title}, live`} aside={<Link path={["audit"]} query={filters}>Search</Link>}>
        <Live key={JSON.stringify(filters)} filters={filters} />
      </View>
    );
  }
  return (
    <View title={title} aside={<Link path={["audit"]} query={{ ...filters, from: "", to: "", live: "yes" }}>Live</Link>}>
      <Verify />
      <Filters
        path={["audit"]}
        query={query}
        action="Search"
        of={[
          ...(project === undefined ? [] : [{ name: "run", label: "Run", hint: "run_…" }]),
          { name: "profile", label: "Profile", hint: "crm or system/base" },
          { name: "key", label: "Key", hint: "EHR_TOKEN" },
          { name: "actor", label: "By", hint: "token:tok_…" },
          { name: "type", label: "Event", hint: "secret.released" },
          ...(project === undefined ? [] : [{ name: "containment", label: "Containment", hint: "con_…" }]),
          { name: "from", label: "From", time: true },
          { name: "to", label: "Before", time: true },
        ]}
      />
      <Pages<Entry>
        name={JSON.stringify(filters)}
        label="Entries"
        noun="entry"
        load={async (api, cursor) => {
          const page = await answered(api.GET("/v1/audit", { params: { query: { ...given(filters), ...cursor } } }));
          const timed = filters["from"] || filters["to"] || filters["run"];
          return { ...page, note: timed ? "Oldest first" : "Oldest first, of the last day; give a time for more" };
        }}
        id={(entry) => entry.event_id}
        empty="No entry is like this."
        columns={COLUMNS}
      />
    </View>
  );
}

/** Entries as they come, newest first. */
function Live({ filters }: { filters: Record<string, string> }): JSX.Element {
  const since = useRef(Date.now() - 10 * BACK);
  const known = useRef(new Map<string, Entry>());
  const entries = useLoad(
    "live",
    async (api) => {
      const from = new Date(since.current).toISOString();
      const ask = (cursor: { cursor?: string }) =>
        answered(api.GET("/v1/audit", { params: { query: { ...given({ ...filters, from }), ...cursor, limit: 100 } } }));
      for (const entry of (await all(1000, ask)).items) known.current.set(entry.event_id, entry);
      const newest = [...known.current.values()].sort((one, other) => other.at.localeCompare(one.at)).slice(0, KEPT);
      known.current = new Map(newest.map((entry) => [entry.event_id, entry]));
      since.current = Math.max(since.current, Date.parse(newest[0]?.at ?? "1970-01-01") - BACK);
      return newest;
    },
    () => LOOKS,
  );
  return (
    <>
      <Trouble error={entries.error} />
      <p role="status" class="faint">
        {`The newest ${KEPT} entries since this was opened, looked for every ${LOOKS / 1000} seconds.`}
      </p>
      <Table
        label="Entries"
        rows={entries.data ?? []}
        id={(entry) => entry.event_id}
        empty={emptiness(entries, "Nothing has happened since.")}
        columns={COLUMNS}
      />
    </>
  );
}

/** Nobody needs to believe the control plane: the archive is checked from outside. */
function Verify(): JSX.Element {
  return (
    <Part title="Is it complete and unchanged?">
      <p>
        Every entry is exported to the audit bucket, and each hour a signed digest of what was exported follows the digest before. The control
        plane cannot vouch for itself: check the chain with AWS credentials of your own. The command names whatever is missing or changed.
      </p>
      <Copy label="Command that verifies the chain" text="sealfleet audit verify --bucket BUCKET" />
    </Part>
  );
}

export function EntryView({ id }: { id: string }): JSX.Element {
  const entry = useLoad(id, (api) => answered(api.GET("/v1/audit/{event_id}", { params: { path: { event_id: id } } })));
  const view = entry.data;
  return (
    <View title="Entry of the audit trail" aside={<Link path={["audit"]}>Search</Link>}>
      <Asked of={entry} />
      {view && (
        <>
          <Facts
            of={[
              ["Entry", <Code>{view.event_id}</Code>],
              ["When", view.at],
              ["By", <Link path={["audit"]} query={{ actor: view.actor }}>{view.actor}</Link>],
              ["Trail of", view.project],
              ["Run", view.run_id && <Link path={["runs", view.run_id]}>{view.run_id}</Link>],
            ]}
          />
          <Part title="Events">
            <Timeline label="Events" of={moments([view])} />
          </Part>
          <Part title="As it is stored">
            <Copy label="The entry as JSON" text={JSON.stringify(view, null, 2)} />
          </Part>
        </>
      )}
    </View>
  );
}
