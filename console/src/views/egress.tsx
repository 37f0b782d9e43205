// Egress: what steps were kept from reaching, and the rules that would let them.

import type { JSX } from "preact";

import { all, answered, given } from "../api";
import { denied, others, proposed } from "../rules";
import { emptiness, useLoad } from "../session";
import { many } from "../text";
import { Badge, Code, Copy, Link, Part, Trouble, View } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Table } from "../ui/table";

/** Entries that are read. */
const ENTRIES = 500;

export function Egress({ query }: { query: URLSearchParams }): JSX.Element {
  const filters = { run: query.get("run") ?? "", from: query.get("from") ?? "", to: query.get("to") ?? "" };
  const found = useLoad(JSON.stringify(filters), (api) =>
    all(ENTRIES, (cursor) =>
      answered(api.GET("/v1/audit", { params: { query: { type: "egress.denied", ...given(filters), limit: 100, ...cursor } } })),
    ),
  );
  const entries = found.data?.items ?? [];
  const rows = denied(entries);
  const rule = proposed(rows);
  return (
    <View title="Egress denials">
      <p>What steps tried to reach and no rule let them, of the last day unless you give a time.</p>
      <Filters
        path={["egress"]}
        query={query}
        of={[
          { name: "run", label: "Run", hint: "run_…" },
          { name: "from", label: "From", time: true },
          { name: "to", label: "Before", time: true },
        ]}
      />
      <Trouble error={found.error} />
      <Table
        label="Denials"
        rows={rows}
        id={(row) => `${row.host} ${row.port} ${row.reason}`}
        empty={emptiness(found, "Nothing was denied.")}
        columns={[
          { name: "Host", of: (row) => <Code>{row.host}</Code> },
          { name: "Port", of: (row) => row.port },
          { name: "Times", of: (row) => row.count },
          { name: "Why", of: (row) => <Badge of={row.reason === "address" ? "address that no step may reach" : row.reason} tone={row.reason === "no_rule" ? "warn" : "bad"} /> },
          {
            name: "Steps",
            of: (row) => (
              <ul class="labels">
                {row.steps.slice(0, 3).map((step) => (
                  <li key={`${step.run} ${step.step}`}>
                    <Link path={["runs", step.run]} query={{ step: step.step }}>
                      {step.step}
                    </Link>
                  </li>
                ))}
                {row.steps.length > 3 && <li>{`and ${many(row.steps.length - 3, "step")} more`}</li>}
              </ul>
            ),
          },
        ]}
      />
      {others(entries) > 0 && <p>{`${many(others(entries), "more connection")} to hosts that are not named.`}</p>}
      {found.data && !found.data.complete && <p>{`Only the first ${ENTRIES} entries were read; give a shorter time.`}</p>}
      {rule !== "" && (
        <Part title="Proposed rule">
          <p>
            Allow only what the work needs: a host that a step may reach can receive whatever the step knows. Take out what you do not know, add
            the rest to the profile, and apply it with <Code>sealfleet profile apply</Code>.
          </p>
          <Copy label="The proposed rule" text={rule} />
        </Part>
      )}
    </View>
  );
}
