// The path of a credential: each release of a key, and where one went.

import type { JSX } from "preact";

import { answered, given } from "../api";
import { lines, type Release, releases, stations } from "../path";
import { useLoad } from "../session";
import { Asked, Code, Copy, Link, Part, View } from "../ui/basics";
import { Filters } from "../ui/filters";
import { Pages } from "../ui/table";
import { entriesOf } from "./runs";

export function Path({ query }: { query: URLSearchParams }): JSX.Element {
  const get = (name: string): string => query.get(name) ?? "";
  const [key, profile, from, to] = [get("key"), get("profile"), get("from"), get("to")];
  const filters = { key, profile, from, to };
  return (
    <View title="Path of a credential">
      <p>From a key's reference to the end of each sandbox that got it, and who asked for it. The audit trail knows.</p>
      <Filters
        path={["path"]}
        query={query}
        action="Show"
        of={[
          { name: "key", label: "Key", hint: "EHR_TOKEN" },
          { name: "profile", label: "Profile", hint: "any" },
          { name: "from", label: "Released from", time: true },
          { name: "to", label: "Released before", time: true },
        ]}
      />
      {key !== "" && (
        <Part title={`Releases of ${key}`}>
          <Pages<Release>
            name={JSON.stringify(filters)}
            label="Releases"
            noun="release"
            load={async (api, cursor) => {
              const params = { query: { type: "secret.released", key, ...given({ profile, from, to }), limit: 50, ...cursor } };
              const page = await answered(api.GET("/v1/audit", { params }));
              const note = from === "" && to === "" ? "Oldest first, of the last day; give a time for more" : "Oldest first";
              return { items: releases(page.items, key, profile), note, ...(page.next_cursor !== undefined && { next_cursor: page.next_cursor }) };
            }}
            id={(release) => `${release.run} ${release.step} ${release.fence} ${release.secret.from}`}
            empty="It was not released in this time."
            columns={[
              { name: "Released", of: (release) => release.at },
              { name: "Run", of: (release) => <Link path={["runs", release.run]}><Code>{release.run}</Code></Link> },
              { name: "Step", of: (release) => release.step },
              { name: "To", of: (release) => <Code>{release.to}</Code> },
              { name: "Fence", of: (release) => release.fence },
              { name: "Profile", of: (release) => release.secret.from },
              { name: "Version", of: (release) => <Code>{release.secret.version ?? "–"}</Code> },
              {
                name: "Path",
                of: (release) => (
                  <Link path={["path"]} query={{ ...filters, run: release.run, step: release.step, fence: String(release.fence), of: release.secret.from }}>
                    Path
                  </Link>
                ),
              },
            ]}
          />
        </Part>
      )}
      {key !== "" && get("run") !== "" && <OnePath run={get("run")} step={get("step")} fence={Number(get("fence"))} name={key} profile={get("of") || profile} />}
    </View>
  );
}

/** One release's path, as a picture and as text. */
function OnePath(props: { run: string; step: string; fence: number; name: string; profile: string }): JSX.Element {
  const { run, step, fence, name, profile } = props;
  const path = useLoad(JSON.stringify(props), async (api) => {
    const [entries, view] = await Promise.all([
      entriesOf(api, run),
      answered(api.GET("/v1/runs/{run_id}", { params: { path: { run_id: run } } })),
    ]);
    const release = releases(entries, name, profile).find((one) => one.step === step && one.fence === fence);
    return release ? stations(release, entries, view) : [];
  });
  return (
    <Part title={`Path of ${name} to step ${step}`}>
      <Asked of={path} />
      {path.data?.length === 0 && <p>The trail of this run tells of no such release.</p>}
      {path.data && path.data.length > 0 && (
        <>
          <ol class="path" aria-label="Stations of the path">
            {path.data.map((station) => (
              <li key={station.name}>
                <span class="faint">{station.name}</span>
                <strong>{station.what}</strong>
                {station.more && <span>{station.more}</span>}
              </li>
            ))}
          </ol>
          <Copy label="The path as text" text={lines(path.data)} />
        </>
      )}
    </Part>
  );
}
