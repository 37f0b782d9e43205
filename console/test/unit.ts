// The console's rules without a browser: hostile text, links, filters, graphs, differences, paths.

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Api, baseUrl, given, type Schemas } from "../src/api";
import { content, deliveryInWords, diff, egressInWords, grants } from "../src/diff";
import { lines, releases, stations } from "../src/path";
import { parse, to } from "../src/router";
import { denied, others, proposed } from "../src/rules";
import { ago, bytes, duration, members, plain, plainText, shortened, took } from "../src/text";
import { utc } from "../src/ui/filters";
import { columns } from "../src/ui/graph";
import { by, caveats, cost, days, dollars, type Row, total } from "../src/usage";
import { read } from "../src/views/edit";
import { added } from "../src/views/run";
import { type RunFilters, search } from "../src/views/runs";

type Entry = Schemas["AuditEntry"];

test("what a terminal or a reader acts on is spelled out, lines stay", () => {
  assert.equal(plainText("a\u001b[31mb\u202ec\rd\u0085"), "a\\u{1b}[31mb\\u{202e}c\\u{d}d\\u{85}");
  assert.equal(plainText("a\n\tb <b>é 👩‍⚕️"), "a\n\tb <b>é 👩‍⚕️");
});

test("texts and names are made plain at any depth, and no name reaches a prototype", () => {
  const dirty = JSON.parse('{"a":[{"b\\u0007":"c\\u001b"}],"__proto__":{"polluted":true},"n":1,"t":true,"z":null}') as unknown;
  const made = plain(dirty) as Record<string, unknown>;
  assert.equal(JSON.stringify(made), '{"a":[{"b\\\\u{7}":"c\\\\u{1b}"}],"__proto__":{"polluted":true},"n":1,"t":true,"z":null}');
  assert.equal((made as { polluted?: boolean }).polluted, undefined);
});

test("a place is a link and back, whatever its texts hold", () => {
  const link = to(["sealed", "a/b?c#d <x>"], { label: "k=v&w", empty: "", none: undefined });
  const place = parse(link);
  assert.deepEqual(place.path, ["sealed", "a/b?c#d <x>"]);
  assert.deepEqual([...place.query], [["label", "k=v&w"]]);
  assert.match(link, /^#\/[!-~]*$/);
  assert.deepEqual(parse("#/runs/%E0%A4%A").path, ["runs", "%E0%A4%A"]);
  assert.deepEqual(parse("").path, []);
});

test("the API is beside the console, below any path", () => {
  assert.equal(baseUrl("https://api.example/console/"), "https://api.example");
  assert.equal(baseUrl("http://127.0.0.1:4566/_aws/execute-api/x/$default/console/"), "http://127.0.0.1:4566/_aws/execute-api/x/$default");
});

test("only filters that are set are sent", () => {
  assert.deepEqual(given({ a: "x", b: "", c: undefined }), { a: "x" });
  assert.equal(utc(""), "");
  assert.equal(utc("no time"), "");
  assert.match(utc("2026-01-31T08:00:00"), /^2026-01-3\dT\d\d:00:00Z$/);
});

test("times and sizes are in words", () => {
  const now = Date.parse("2026-01-31T08:00:00Z");
  assert.equal(ago("2026-01-31T07:59:59Z", now), "1 second ago");
  assert.equal(ago("2026-01-31T06:00:00Z", now), "2 hours ago");
  assert.equal(ago("2026-02-03T08:00:00Z", now), "in 3 days");
  assert.equal(bytes(1), "1 byte");
  assert.equal(bytes(1_572_864), "1.5 MiB");
  assert.equal(took("2026-01-31T08:00:00Z", "2026-01-31T08:02:05Z"), "2m 05s");
  assert.equal(shortened("abcdefghij", 5), "ab…ij");
  assert.equal(members({ type: "x", step_id: "a", keys: ["K", "L"], none: [] }), "step id a, keys K; L, none none");
});

test("a page of runs is filled from several of the API, and says when not all were looked at", async () => {
  const asked: unknown[] = [];
  const answers = (pages: { items: number; next_cursor?: string }[]): Api => {
    const get = (_: string, options: { params: { query: unknown } }): Promise<unknown> => {
      asked.push(options.params.query);
      const { items, ...rest } = pages[Math.min(asked.length, pages.length) - 1] ?? { items: 0 };
      return Promise.resolve({ data: { items: Array.from({ length: items }, () => ({})), ...rest }, response: new Response() });
    };
    return { GET: get } as unknown as Api;
  };
  const filters: RunFilters = { state: "dead", workflow: "", profile: "crm", label: "", from: "", to: "" };
  const three = await search(answers([{ items: 30, next_cursor: "a" }, { items: 0, next_cursor: "b" }, { items: 20, next_cursor: "c" }]), filters, {});
  assert.deepEqual([three.items.length, three.next_cursor, three.note], [50, "c", undefined]);
  const query = { state: "dead", profile: "crm" };
  assert.deepEqual(asked, [{ ...query, limit: 50 }, { ...query, cursor: "a", limit: 20 }, { ...query, cursor: "b", limit: 20 }]);
  asked.length = 0;
  const few = await search(answers([{ items: 1 }]), filters, { cursor: "z" });
  assert.deepEqual([few.items.length, few.next_cursor, asked], [1, undefined, [{ ...query, cursor: "z", limit: 50 }]]);
  asked.length = 0;
  const none = await search(answers([{ items: 0, next_cursor: "more" }]), filters, {});
  assert.deepEqual([none.items.length, none.next_cursor, asked.length], [0, "more", 10]);
  assert.match(none.note ?? "", /the next page goes on/);
});

test("a step stands after all that it needs, and a circle has an end", () => {
  const node = (id: string, ...needs: string[]) => ({ id, needs, state: "queued", note: "" });
  const placed = columns([node("d", "b", "c"), node("a"), node("b", "a"), node("c", "b"), node("e", "gone")]);
  assert.deepEqual(Object.fromEntries(placed), { a: 0, b: 1, c: 2, d: 3, e: 0 });
  assert.equal(columns([node("x", "y"), node("y", "x")]).size, 2);
});

test("output is joined by stream, and the oldest goes where there is too much", () => {
  const page = (text: string, stream: "stdout" | "stderr" = "stdout") => ({ fence: 1, goes_on: true, next_cursor: "x", items: [{ stream, text }] });
  const none = { pieces: [], size: 0, dropped: 0, done: false };
  const two = added(added(none, page("a")), page("b"));
  assert.deepEqual(two.pieces.map((piece) => piece.text), ["ab"]);
  assert.deepEqual(added(two, page("e", "stderr")).pieces.map((piece) => piece.stream), ["stdout", "stderr"]);
  let much = two;
  for (let turn = 0; turn < 20; turn += 1) much = added(much, page("x".repeat(50_000)));
  assert(much.size <= 450_000 && much.dropped > 500_000, `${much.size} ${much.dropped}`);
  assert(added(two, { fence: 1, goes_on: false, items: [] }).done);
});

test("versions differ by what was added, removed and changed", () => {
  const before = { env: { A: "1", B: "2" }, secrets: { K: "builtin://k@1" }, tools: { psql: ["K"] } };
  const after = { env: { A: "1" }, secrets: { K: "builtin://k@2" }, tools: { psql: ["*"] }, egress: "none" as const };
  assert.deepEqual(diff(before, after), [
    { what: "egress", before: undefined, after: "no host" },
    { what: "secret K", before: "builtin://k@1", after: "builtin://k@2" },
    { what: "tool psql", before: "K", after: "*" },
    { what: "variable B", before: "2", after: undefined },
  ]);
  assert.deepEqual(diff(before, before), []);
  assert.equal(egressInWords({ allow: [{ host: "a.example" }, { host: "*.b.example", port: 8443 }] }), "a.example:443, *.b.example:8443");
  const narrow = { host: "a.example", methods: ["GET"] } as Schemas["EgressRule"];
  assert.equal(egressInWords({ allow: [narrow] }), "a.example:443 (methods GET)");
});

test("an access list shows nothing by default", () => {
  const tools = { psql: ["K"], all: ["*"] };
  assert.deepEqual(
    [grants(tools, "psql", "K"), grants(tools, "psql", "L"), grants(tools, "all", "L"), grants(tools, "other", "K"), grants(undefined, "psql", "K")],
    [true, false, true, false, false],
  );
});

function entry(at: string, actor: string, events: unknown[]): Entry {
  return { event_id: `evt_${at}`, project: "p", actor, at, run_id: "run_1", events } as Entry;
}

const STORY: Entry[] = [
  entry("t1", "token:tok_1", [{ type: "run.enqueued", workflow: "intake", steps: ["fetch"], profiles: [{ level: "run", profile: "ehr", version: 3 }] }]),
  entry("t2", "worker:wrk_1", [
    { type: "step.leased", step_id: "fetch", fence: 1, worker_id: "wrk_1", mode: "identity" },
    { type: "secret.released", step_id: "fetch", fence: 1, secrets: [{ name: "K", from: "ehr", uri: "builtin://k", version: "v1" }] },
  ]),
  entry("t3", "system:sweep", [{ type: "step.requeued", step_id: "fetch", fence: 1, attempt: 1, reason: "lease_expired" }]),
  entry("t4", "worker:wrk_2", [
    { type: "step.leased", step_id: "fetch", fence: 2, worker_id: "wrk_2", mode: "identity" },
    { type: "secret.released", step_id: "fetch", fence: 2, secrets: [{ name: "K", from: "ehr", uri: "builtin://k", version: "v2" }] },
    { type: "profile.injected", step_id: "fetch", fence: 2, profiles: [{ level: "run", profile: "ehr", version: 4 }] },
    { type: "step.running", step_id: "fetch", fence: 2 },
  ]),
  entry("t5", "worker:wrk_2", [{ type: "step.failed", step_id: "fetch", fence: 2, failure: { kind: "exit", code: 3 } }]),
];
const RUN = {
  run_id: "run_1",
  steps: [{ id: "fetch", fence: 2, pool: "workers", handle: "sandbox-7" }],
  document: { workflow: "intake", steps: [{ id: "fetch", tool: "records" }] },
} as unknown as Schemas["RunView"];

test("the path of a release is that of its own fence", () => {
  const found = releases(STORY, "K", "ehr");
  assert.deepEqual(found.map((release) => release.fence), [1, 2]);
  assert.deepEqual(releases(STORY, "K", "other"), []);
  const [first, second] = found;
  assert(first && second);
  assert.equal(
    lines(stations(second, STORY, RUN)),
    [
      "reference  builtin://k",
      "version    v2",
      "profile    ehr  (version 4)",
      "level      run",
      "run        run_1  (workflow intake, enqueued by token:tok_1 at t1)",
      "step       fetch  (fence 2, mode identity, released at t4)",
      "tool       records",
      "worker     wrk_2  (pool workers)",
      "sandbox    sandbox-7  (running at t4)",
      "end        failed  (exit, at t5)",
    ].join("\n"),
  );
  const told = stations(first, STORY, RUN);
  assert.deepEqual(
    told.slice(-3).map(({ what, more }) => [what, more]),
    [["wrk_1", "pool workers"], ["not recorded", "never started"], ["requeued", "lease_expired, at t3"]],
  );
});

test("denials of one host are one row, and only a missing rule is proposed", () => {
  const event = (rows: unknown[], more = {}) => ({ type: "egress.denied", step_id: "a", fence: 1, rows, ...more });
  const entries = [
    entry("t1", "worker:w", [event([{ host: "a.example", port: 443, reason: "no_rule", count: 2 }], { others: 4 })]),
    entry("t2", "worker:w", [event([{ host: "a.example", port: 443, reason: "no_rule", count: 3 }, { host: "169.254.169.254", port: 80, reason: "address", count: 9 }])]),
    entry("t3", "worker:w", [event([{ host: "b.example", port: 8443, reason: "no_rule", count: 1 }])]),
  ];
  const rows = denied(entries);
  assert.deepEqual(rows.map((row) => [row.host, row.count, row.steps.length]), [["169.254.169.254", 9, 1], ["a.example", 5, 1], ["b.example", 1, 1]]);
  assert.equal(others(entries), 4);
  assert.equal(proposed(rows), 'egress:\n  allow:\n    - host: "a.example"\n    - host: "b.example"\n      port: 8443\n');
  assert.equal(proposed([]), "");
});

const row = (day: string, model: string | undefined, attempts: number, cost?: number, more: Partial<Row["used"]> = {}): Row => {
  const tokens = { input_tokens: 10, cached_input_tokens: 4, output_tokens: 1 };
  const used = { attempts, wall_ms: 1000, tokens, tokens_of_agents: tokens, tokens_of_proxies: tokens, ...(cost !== undefined && { cost_usd: cost }), ...more };
  return { project: "healthcare", day, ...(model !== undefined && { model }), used };
};

test("sums add up what rows have used, and a cost that nobody knows is none", () => {
  const sum = total([row("2026-01-01", "a", 2, 0.5), row("2026-01-02", "b", 3, 0.25, { unpriced: 1 }), row("2026-01-02", undefined, 1)]);
  assert.equal(sum.attempts, 6);
  assert.equal(sum.wall_ms, 3000);
  assert.equal(sum.cost_usd, 0.75);
  assert.deepEqual(sum.tokens, { input_tokens: 30, cached_input_tokens: 12, output_tokens: 3 });
  assert.deepEqual(caveats(sum), ["The cost lacks 1 use of models that have no price."]);
  assert.equal(total([row("2026-01-01", undefined, 1)]).cost_usd, undefined);
  assert.equal(dollars(undefined), "–");
});

test("usage is grouped, the dearest first", () => {
  const rows = [row("2026-01-01", "cheap", 9, 0.1), row("2026-01-01", "dear", 1, 0.5), row("2026-01-02", "dear", 1, 0.5), row("2026-01-02", undefined, 1)];
  assert.deepEqual(
    by(rows, (one) => one.model ?? "").map(({ name, used }) => [name, used.attempts, used.cost_usd]),
    [["dear", 2, 1], ["cheap", 9, 0.1], ["", 1, undefined]],
  );
});

test("days, money and time are as people read them", () => {
  assert.deepEqual(days("2026-02-27", "2026-03-02"), ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]);
  assert.deepEqual(days("2026-03-02", "2026-02-27"), []);
  assert.deepEqual(days("", "x"), []);
  const used = (more: object): Parameters<typeof cost>[0] => ({ ...total([]), ...more });
  assert.deepEqual(
    [{}, { unpriced: 1 }, { cost_usd: 1 }, { cost_usd: 1, untold: 2 }].map((more) => cost(used(more))),
    ["–", "?", "$1.00", "$1.00 + ?"],
  );
  assert.deepEqual([dollars(0), dollars(0.0042), dollars(1204.5)], ["$0.00", "$0.0042", "$1,204.50"]);
  assert.deepEqual([duration(4200), duration(3_840_000)], ["4.2s", "1h 04m"]);
});

test("a change of delivery or of tokens is a difference, and is told whole", () => {
  const bound = { egress: { to: [{ host: "api.example" }] } };
  assert.deepEqual(diff({ delivery: { KEY: "file" } }, { delivery: { KEY: bound }, identity: { audiences: ["sts"] } }), [
    { what: "delivery of KEY", before: "file", after: "at egress: to host=api.example" },
    { what: "tokens for", before: undefined, after: "sts" },
  ]);
  assert.equal(deliveryInWords(undefined), "variable");
});

test("an author's text is what the author wrote", () => {
  const stored = { name: "ehr", version: 3, created_at: "x", updated_at: "y", env: { A: "b" }, egress: null };
  assert.deepEqual(content(stored as never), { env: { A: "b" } });
  assert.deepEqual(read('{"env": {}}'), { content: { env: {} } });
  for (const text of ["[]", "null", "1", "{"]) assert(read(text).error, text);
});
