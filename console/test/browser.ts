// The console in Chromium against a local stack with two tenants, which scripts/test-console sets up.
//
// Every page is watched throughout: a violation of the content policy, an error in the console, a
// request to another origin, the canary's value or a token in any view fails the test.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { env } from "node:process";

import { type Browser, type BrowserContext, chromium, type Locator, type Page } from "playwright-core";

interface Stage {
  /** Address of the console. */
  console: string;
  /** Address of the issuer that the stack trusts (issuer.ts). */
  issuer: string;
  /** Directory with a file for each token. */
  tokens: string;
  canary: string;
  /** Where pictures go; empty for none. */
  shots: string;
  runs: { hostile: string; live: string; dead: string; waits: string };
}

const stage = JSON.parse(readFileSync(env["STAGE"] ?? "", "utf8")) as Stage;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 30_000;
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 400, height: 800 };

/** Every button that changes something. */
const ACTIONS = ["Deny", "Retire", "Cancel run", "Run again", "Retry", "Approve", "Reject", "Drain", "Resume", "Revoke", "Lift", "New key", "New token", "Set limits", "Contain"];

const token = (who: string): string => readFileSync(`${stage.tokens}/${who}`, "utf8").trim();

/** What a watched page did that it may not. */
const faults: string[] = [];
/** Tokens that this test knows, and must never see. */
const known = ["operator", "healthcare", "finance", "member", "viewer"].map(token);

class Watched {
  private entered = false;

  private constructor(
    readonly who: string,
    readonly page: Page,
    readonly context: BrowserContext,
  ) {}

  static async open(browser: Browser, who: string): Promise<Watched> {
    const context = await browser.newContext({ viewport: WIDE, reducedMotion: "reduce" });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    await page.addInitScript(() => {
      const seen = { shift: 0 };
      Object.assign(window, { seen });
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
      });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) seen.shift += (entry as PerformanceEntry & { value: number }).value;
      }).observe({ type: "layout-shift", buffered: true });
    });
    page.on("console", (message) => {
      // A refusal that a view shows is an answer, and no fault.
      const refusal = message.text().startsWith("Failed to load resource") && /status of 4\d\d/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !refusal) faults.push(`${page.url()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => faults.push(`${page.url()}: ${error.message}`));
    page.on("request", (request) => {
      const { origin } = new URL(stage.console);
      const own = [`${origin}/`, "data:", `${stage.issuer}/token`].some((start) => request.url().startsWith(start));
      if (!own) faults.push(`a request to ${request.url()}`);
    });
    return new Watched(who, page, context);
  }

  /** Logs in with the keyboard alone. */
  async login(): Promise<void> {
    await this.page.goto(stage.console);
    await this.page.getByLabel("API token").waitFor();
    await this.page.keyboard.press("Tab");
    await this.page.keyboard.type(token(this.who));
    await this.page.keyboard.press("Enter");
    await this.page.getByRole("button", { name: "Log out" }).waitFor();
    this.entered = true;
  }

  /** Goes to a view, and waits until all of it is there. */
  async visit(place: string): Promise<void> {
    if (!this.entered) await this.login();
    await this.page.evaluate((hash) => {
      (window as unknown as { seen: { shift: number } }).seen.shift = 0;
      location.hash = hash;
    }, `#/${place}`);
    await this.settled();
  }

  async settled(): Promise<void> {
    await this.page.locator("h1").waitFor();
    await this.page.waitForTimeout(50);
    await this.page.waitForFunction(() => !document.body.innerText.includes("Loading…") && !document.body.innerText.includes("Asking what"));
    await this.inspect();
  }

  /** Looks for what no view may hold. */
  async inspect(): Promise<void> {
    const html = await this.page.content();
    const kept = await this.page.evaluate(() => [location.href, document.cookie, JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage })].join("\n"));
    const place = this.page.url();
    for (const secret of [stage.canary, Buffer.from(stage.canary).toString("base64"), ...known]) {
      assert(!html.includes(secret) && !kept.includes(secret), `${place} shows a secret`);
    }
    assert(!kept.includes("sft."), `${place} keeps a token`);
    assert.equal(await this.page.locator("main img, main script, main b, main iframe").count(), 0, `${place} holds markup from outside`);
    const links = await this.page.locator("a").evaluateAll((all) => all.map((link) => link.getAttribute("href") ?? ""));
    assert(links.every((link) => link.startsWith("#/")), `${place} links elsewhere: ${links.join(" ")}`);
  }

  /** The violations of WCAG 2 A and AA, in both themes. */
  async accessible(name: string): Promise<void> {
    for (const colorScheme of ["light", "dark"] as const) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.evaluate(AXE);
      const found = await this.page.evaluate(async () => {
        const { axe } = window as unknown as { axe: { run: (options: unknown) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } };
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
        const { violations } = await axe.run({ runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] });
        return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html} ${nodes[0]?.failureSummary}`);
      });
      assert.deepEqual(found, [], `${name}, ${colorScheme}`);
    }
    await this.page.emulateMedia({ colorScheme: "light" });
  }

  /** The page is never wider than the window, at both widths. */
  async fits(name: string): Promise<void> {
    for (const size of [NARROW, WIDE]) {
      await this.page.setViewportSize(size);
      const over = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert(over <= 0, `${name} is ${over} px too wide at ${size.width} px`);
      const above = await this.page.evaluate(() => document.querySelector("header")?.offsetHeight ?? 0);
      assert(above <= 200, `${name}: the menu takes ${above} px at ${size.width} px`);
    }
  }

  async shot(name: string): Promise<void> {
    if (stage.shots === "") return;
    const directory = `../${stage.shots}`;
    mkdirSync(directory, { recursive: true });
    const session = await this.context.newCDPSession(this.page);
    for (const colorScheme of ["light", "dark"] as const) {
      await this.page.emulateMedia({ colorScheme });
      const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 55 });
      writeFileSync(`${directory}/${name}-${colorScheme}.webp`, Buffer.from(data, "base64"));
    }
    await this.page.emulateMedia({ colorScheme: "light" });
    await session.detach();
  }

  text(): Promise<string> {
    return this.page.locator("body").innerText();
  }

  async buttons(): Promise<string[]> {
    const names = await this.page.getByRole("button").allInnerTexts();
    return names.map((name) => name.trim());
  }

  /** Presses a button of the view, fills the dialog, presses the same there, and waits until it is done. */
  async act(label: string, within = "main", fill: Record<string, string> = {}): Promise<void> {
    await this.page.locator(within).getByRole("button", { name: label, exact: true }).first().click();
    const dialog = this.page.getByRole("dialog");
    for (const [field, value] of Object.entries(fill)) {
      const input = dialog.getByLabel(field, { exact: true });
      if ((await input.evaluate((one) => one.tagName)) === "SELECT") await input.selectOption({ label: value });
      else await input.fill(value);
    }
    await this.settled();
    await dialog.getByRole("button", { name: label, exact: true }).click();
  }

  /** Waits until the view says so. */
  async says(text: string | RegExp): Promise<void> {
    await this.page.locator("main").getByText(text).first().waitFor();
  }
}

const results: string[] = [];

async function check(name: string, run: () => Promise<void>): Promise<void> {
  if (env["ONLY"] !== undefined && !name.includes(env["ONLY"])) return;
  const begun = Date.now();
  try {
    await run();
    assert.deepEqual(faults, []);
    results.push(`ok    ${name}, ${Date.now() - begun} ms`);
  } catch (error) {
    faults.length = 0;
    results.push(`FAIL  ${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  console.error(results.at(-1));
}

const browser = await chromium.launch({ executablePath: env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const { hostile, live, dead, waits } = stage.runs;

const admin = await Watched.open(browser, "healthcare");
const viewer = await Watched.open(browser, "viewer");
const operator = await Watched.open(browser, "operator");
const neighbour = await Watched.open(browser, "finance");

await check("the first view", async () => {
  const begun = Date.now();
  await admin.page.goto(stage.console);
  await admin.page.getByLabel("API token").waitFor();
  const shown = Date.now() - begun;
  await admin.accessible("login");
  await admin.fits("login");
  await admin.shot("login");
  const entered = Date.now();
  await admin.login();
  await admin.says(/Approved workers/);
  await admin.says("Wait for a decision");
  console.error(`      login after ${shown} ms, the first view ${Date.now() - entered} ms after the page was asked for`);
  await admin.settled();
});

await check("what is no token does not log in", async () => {
  for (const [text, answer] of [
    ["no token", /spaces/],
    ["sft.healthcare.tok_0198c0de-0000-7000-8000-00000000000a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /credential/],
  ] as const) {
    await neighbour.page.goto(stage.console);
    await neighbour.page.getByLabel("API token").fill(text);
    await neighbour.page.getByRole("button", { name: "Log in" }).click();
    await neighbour.page.getByRole("alert").getByText(answer).waitFor();
  }
});

await check("logging in with an issuer, in a window of its own", async () => {
  const guest = await Watched.open(browser, "guest");
  const button = guest.page.getByRole("button", { name: "Log in with 127.0.0.1" });
  /** Says at the issuer who one is. */
  const as = async (who: string): Promise<void> => {
    const [popup] = await Promise.all([guest.context.waitForEvent("page"), button.click()]);
    await popup.getByRole("link", { name: who }).click();
    await popup.waitForEvent("close");
  };
  await guest.page.goto(stage.console);
  await button.waitFor();
  await guest.accessible("login with an issuer");
  for (const [who, answer] of [
    ["nobody", /access_denied/],
    ["eve", /another login/],
  ] as const) {
    await as(who);
    await guest.page.getByRole("alert").getByText(answer).waitFor();
  }
  // An answer that nobody has asked for ends nothing, whoever sends it.
  const [popup] = await Promise.all([guest.context.waitForEvent("page"), button.click()]);
  const stray = await guest.context.newPage();
  await stray.goto(`${stage.console}#state=guessed&code=stray`);
  await stray.getByText("You may close this one").waitFor();
  assert.equal(new URL(stray.url()).hash, "");
  await stray.close();
  await guest.page.getByText("Log in in the other window.").waitFor();
  await guest.page.getByRole("button", { name: "Stop waiting" }).click();
  await guest.page.getByRole("alert").getByText("You have stopped the login.").waitFor();
  await popup.close();
  await as("ada");
  await guest.page.getByText("admin of healthcare").waitFor();
  await guest.settled();
  const kept = await guest.page.evaluate(() => [location.href, document.cookie, JSON.stringify({ ...localStorage, ...sessionStorage }), document.documentElement.outerHTML].join());
  assert(!kept.includes("eyJ") && !kept.includes("code="), kept);
  await guest.page.reload();
  await button.waitFor();
  await guest.context.close();
});

const VIEWS: [string, string, RegExp][] = [
  ["health", "health", /pending worker/],
  ["runs", "runs", new RegExp(hostile)],
  ["run", `runs/${hostile}`, /Took/],
  ["inbox", "inbox", /workflow:nightly@1/],
  ["approval", "inbox/workflow:nightly@1", /The one who made it/],
  ["workflows", "workflows", /nightly/],
  ["fleet", "fleet", /laptop/],
  ["sealed", "sealed", /ehr/],
  ["profile", "sealed/ehr?from=1&to=2", /old\.example/],
  ["cascade", "cascade?workflow=intake&profile=ehr&tool=records", /EHR_TOKEN/],
  ["revocations", "revocations", /revoke/],
  ["path", "path?key=EHR_TOKEN&profile=ehr", /fetch/],
  ["egress", "egress", /refused\.example/],
  ["audit", "audit", /secret released/],
  ["usage", "usage", /intake/],
  ["tokens", "tokens", /viewer/],
];

await check("every view of an admin", async () => {
  const shifts: string[] = [];
  for (const [name, place, told] of VIEWS) {
    await admin.visit(place);
    await admin.says(told);
    const shift = await admin.page.evaluate(() => (window as unknown as { seen: { shift: number } }).seen.shift);
    shifts.push(`${name} ${shift.toFixed(3)}`);
    if (name === "path") {
      await admin.page.locator("main").getByRole("link", { name: "Path", exact: true }).first().click();
      await admin.says(/enqueued by token:/);
      await admin.settled();
    }
    await admin.fits(name);
    await admin.accessible(name);
    await admin.shot(name);
  }
  console.error(`      layout shift: ${shifts.join(", ")}`);
});

await check("views that others lead to", async () => {
  await admin.visit("fleet");
  await admin.page.getByRole("link", { name: "laptop" }).click();
  await admin.says(/Steps that it holds/);
  await admin.settled();
  await admin.accessible("worker");
  await admin.fits("worker");
  await admin.shot("worker");
  await admin.visit("audit?type=secret.released");
  await admin.page.locator("main tbody a").first().click();
  await admin.says(/As it is stored/);
  await admin.settled();
  await admin.accessible("entry");
  await admin.fits("entry");
  await admin.shot("entry");
});

await check("the trail is followed live", async () => {
  await admin.visit("audit?live=yes&type=token.created");
  const rows = admin.page.getByRole("row", { name: /token created/ });
  await admin.settled();
  const before = await rows.count();
  await admin.accessible("live");
  await admin.fits("live");
  const made = await fetch(new URL("../v1/tokens", stage.console), {
    method: "POST",
    headers: { authorization: `Bearer ${token("healthcare")}`, "content-type": "application/json" },
    body: JSON.stringify({ role: "viewer", expires_in_seconds: 3600 }),
  });
  assert.equal(made.status, 201);
  await rows.nth(before).waitFor();
});

await check("text from outside is text", async () => {
  await admin.visit(`runs/${hostile}?step=fetch`);
  const output = admin.page.getByLabel("Output", { exact: true });
  await output.getByText("<img src=x onerror=alert(1)>").waitFor();
  const printed = await output.innerText();
  assert(printed.includes("\\u{1b}[31m<redacted:EHR_TOKEN>"), printed);
  await admin.page.getByLabel("Result", { exact: true }).getByText("<script>alert(2)</script>").waitFor();
  await admin.says("out/page.html");
  await admin.says("note=<img/src/onerror>");
  await admin.inspect();
});

await check("the path is that of the reference, to the end of the sandbox", async () => {
  await admin.visit("path?key=EHR_TOKEN&profile=ehr");
  await admin.page.getByRole("row", { name: new RegExp(hostile) }).getByRole("link", { name: "Path", exact: true }).click();
  assert.match(await admin.page.getByLabel("Releases").getByRole("row", { name: new RegExp(hostile) }).innerText(), /worker:wrk_/);
  const text = await admin.page.getByLabel("The path as text").innerText();
  for (const line of [/^reference {2}builtin:\/\/ehr-token$/m, /^profile {4}ehr {2}\(version 2\)$/m, /^level {6}run$/m, new RegExp(`^run {8}${hostile} `, "m"), /^tool {7}records$/m, /^worker {5}wrk_/m, /^end {8}succeeded/m]) {
    assert.match(text, line);
  }
  // The command line tells the same, letter by letter.
  assert.equal(text.trim(), readFileSync(`${stage.tokens}/path`, "utf8").trim());
});

await check("usage is what the steps have used, by each of its groups", async () => {
  await admin.visit("usage?by=workflow");
  const { items } = JSON.parse(readFileSync(`${stage.tokens}/usage`, "utf8")) as { items: { workflow: string; used: { attempts: number } }[] };
  assert(items.length > 0);
  for (const { workflow, used } of items) {
    const cells = admin.page.getByLabel("Usage by workflow").getByRole("row", { name: new RegExp(`^${workflow} `) }).getByRole("cell");
    assert.equal(await cells.nth(2).innerText(), String(used.attempts), workflow);
  }
  await admin.page.getByLabel("By", { exact: true }).selectOption("profile");
  await admin.page.getByRole("button", { name: "Show" }).click();
  await admin.page.getByLabel("Usage by profile").getByRole("row", { name: /^ehr / }).waitFor();
  await admin.visit("usage?from=2001-01-01&to=2001-01-07");
  await admin.says("Nothing was used in these days.");
});

await check("a run is found by each filter", async () => {
  const rows = async (query: string): Promise<number> => {
    await admin.visit(`runs?${query}`);
    return admin.page.getByRole("row", { name: /run_/ }).count();
  };
  assert.equal(await rows("workflow=intake"), 1);
  assert.equal(await rows("workflow=none"), 0);
  assert.equal(await rows("label=region%3Deu"), 1);
  assert.equal(await rows("profile=ehr"), 2);
  assert.equal(await rows("state=failed"), 1);
  assert.equal(await rows("from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z"), 0);
  await admin.visit("runs");
  await admin.page.getByLabel("Workflow").fill("watch");
  await admin.page.keyboard.press("Enter");
  await admin.page.waitForURL(/workflow=watch/);
  await admin.settled();
  assert.equal(await admin.page.getByRole("row", { name: /run_/ }).count(), 1);
});

await check("a run that waits says why, and one that runs prints live", async () => {
  await admin.visit(`runs/${waits}`);
  await admin.says("Why it waits");
  await admin.visit(`runs/${live}`);
  const output = admin.page.getByLabel("Output", { exact: true });
  await output.getByText("tick").waitFor();
  const before = (await output.innerText()).length;
  await admin.page.waitForFunction((size) => (document.querySelector<HTMLElement>("pre.output")?.innerText.length ?? 0) > size, before);
});

await check("a viewer sees every view that it may, and no action", async () => {
  // Where an admin has some.
  for (const place of [`runs/${hostile}`, `runs/${live}`, "fleet", "sealed/ehr"]) {
    await admin.visit(place);
    assert((await admin.buttons()).some((name) => ACTIONS.includes(name)), place);
  }
  for (const place of ["health", "runs", `runs/${hostile}`, `runs/${live}`, `runs/${dead}`, "inbox", "inbox/workflow:nightly@1", "workflows", "fleet", "sealed", "sealed/ehr", "cascade?workflow=intake&profile=ehr", "revocations", "usage"]) {
    await viewer.visit(place);
    const shown = (await viewer.buttons()).filter((name) => ACTIONS.includes(name));
    assert.deepEqual(shown, [], place);
  }
  await viewer.page.getByRole("link", { name: "Fleet" }).click();
  for (const place of ["audit", "path", "egress", "tokens", "contain", "projects", "edit", "edit/ehr"]) {
    await viewer.visit(place);
    await viewer.says("There is no such view for you");
  }
});

await check("a member cancels and retries, and decides nothing", async () => {
  const member = await Watched.open(browser, "member");
  await member.visit(`runs/${live}`);
  assert((await member.buttons()).includes("Cancel run"));
  await member.visit("fleet");
  assert.deepEqual((await member.buttons()).filter((name) => ACTIONS.includes(name)), []);
  await member.context.close();
});

await check("another project's console names nothing of this one", async () => {
  for (const place of ["health", "runs", "inbox", "workflows", "fleet", "sealed", "cascade?workflow=intake", "revocations", "path?key=EHR_TOKEN", "egress", "usage", "audit", "tokens"]) {
    await neighbour.visit(place);
    const text = await neighbour.text();
    for (const name of ["healthcare", "nightly", "laptop", hostile, live, "builtin://", "refused.example"]) assert(!text.includes(name), `${place}: ${name}`);
  }
  for (const place of [`runs/${hostile}`, "sealed/ehr"]) {
    await neighbour.visit(place);
    await neighbour.says(/nothing/);
    assert(!(await neighbour.text()).includes("records"), place);
  }
});

await check("a workflow waits for somebody else, is denied with a reason, approved and retired", async () => {
  const member = await Watched.open(browser, "member");
  await member.visit("inbox/workflow:nightly@1");
  await member.says("not: <b>The one who made it</b>");
  assert.deepEqual((await member.buttons()).filter((name) => ACTIONS.includes(name)), []);
  await member.context.close();
  // Without a reason there is no denial.
  await admin.visit("inbox/workflow:nightly@1");
  await admin.page.getByRole("button", { name: "Deny", exact: true }).click();
  await admin.page.getByRole("dialog").getByRole("button", { name: "Deny", exact: true }).click();
  await admin.page.getByRole("dialog").waitFor();
  await admin.page.keyboard.press("Escape");
  await admin.page.getByRole("dialog").waitFor({ state: "detached" });
  await admin.act("Deny", "main", { Reason: "say <b>what for</b>" });
  await admin.says("say <b>what for</b>");
  await admin.visit("inbox/workflow:weekly@1");
  await admin.act("Approve", "main");
  await admin.page.locator(".facts").getByText("approved").first().waitFor();
  await admin.visit("inbox?state=decided");
  await admin.says("workflow:weekly@1");
  await admin.visit("workflows/weekly");
  await admin.page.getByRole("row", { name: /^1 live/ }).waitFor();
  await admin.accessible("workflow");
  await admin.fits("workflow");
  await admin.shot("workflow");
  // Its own, somebody else must approve: the API refuses, and the console says why.
  await admin.visit("inbox/workflow:own@1");
  await admin.page.getByRole("button", { name: "Approve", exact: true }).click();
  await admin.page.getByRole("dialog").getByRole("button", { name: "Approve", exact: true }).click();
  await admin.page.getByRole("dialog").getByRole("alert").waitFor();
  await admin.page.keyboard.press("Escape");
  await admin.visit("workflows/weekly");
  await admin.act("Retire", "main");
  await admin.page.getByRole("row", { name: /^1 retired/ }).waitFor();
});

await check("steps and workers wait in the same inbox, with what a yes would allow", async () => {
  const open = async (name: RegExp): Promise<void> => {
    await admin.visit("inbox");
    await admin.page.locator("main").getByRole("link", { name }).first().click();
    await admin.settled();
  };
  await open(/^step:run_.*:push$/);
  await admin.page.getByLabel("The step", { exact: true }).getByText("<b>push</b>").waitFor();
  await admin.says("Keys of the run");
  await admin.accessible("approval of a step");
  await admin.fits("approval of a step");
  await admin.act("Approve", "main");
  await admin.page.locator(".facts").getByText("approved").first().waitFor();
  await admin.page.locator("main").getByRole("link", { name: /^run_/ }).click();
  await admin.page.locator(".facts").getByText("succeeded").first().waitFor();
  await open(/^step:run_.*:drop$/);
  await admin.act("Deny", "main", { Reason: "not <b>today</b>" });
  await admin.says("not <b>today</b>");
  await admin.page.locator("main").getByRole("link", { name: /^run_/ }).click();
  await admin.page.locator(".facts").getByText("aborted").first().waitFor();
  await open(/^worker:wrk_/);
  await admin.says(/lets it claim steps of pool workers/);
  await admin.accessible("approval of a worker");
});

await check("workers are approved, rejected, drained, resumed and revoked", async () => {
  await admin.visit("fleet");
  const row = (name: string): string => `tr:has(a:text-is("${name}"))`;
  await admin.act("Approve", row("waits-for-yes"));
  await admin.page.locator(row("waits-for-yes")).getByText("approved").waitFor();
  await admin.act("Reject", row("waits-for-no"));
  await admin.page.locator(row("waits-for-no")).getByText("rejected").waitFor();
  await admin.act("Drain", row("laptop"));
  await admin.page.locator(row("laptop")).getByText("drains").waitFor();
  await admin.act("Resume", row("laptop"));
  await admin.page.locator(row("laptop")).getByText("approved").waitFor();
  await admin.act("Revoke", row("spare"));
  await admin.page.locator(row("spare")).getByText("revoked").waitFor();
  // Escape changes nothing, and the focus is back where it was.
  const revoke = admin.page.locator(row("waits-for-yes")).getByRole("button", { name: "Revoke" });
  await revoke.focus();
  await admin.page.keyboard.press("Enter");
  await admin.page.getByRole("dialog").waitFor();
  await admin.accessible("dialog");
  await admin.fits("dialog");
  await admin.page.keyboard.press("Escape");
  await admin.page.getByRole("dialog").waitFor({ state: "detached" });
  assert(await revoke.evaluate((button) => button === document.activeElement));
});

await check("enrolment keys and tokens are made, shown once and revoked", async () => {
  await admin.visit("fleet");
  await admin.act("New key");
  await admin.page.getByLabel("The new enrolment key").getByText(/^sfe\.healthcare\./).waitFor();
  await admin.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await admin.settled();
  assert(!(await admin.page.content()).includes("sfe."));
  const key = 'tr:has-text("enk_"):has-text("valid")';
  await admin.page.locator(key).waitFor();
  await admin.act("Revoke", key);
  await admin.page.locator(key).waitFor({ state: "detached" });
  await admin.visit("tokens");
  await admin.act("New token", "main", { Role: "viewer", Note: "for a <b>test</b>" });
  const shown = await admin.page.getByLabel("The new token").innerText();
  assert.match(shown, /^sft\.healthcare\./);
  await admin.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await admin.settled();
  await admin.says("for a <b>test</b>");
  // Whoever is logged in with it is out as soon as it is revoked.
  const guest = await Watched.open(browser, "guest");
  await guest.page.goto(stage.console);
  await guest.page.getByLabel("API token").fill(shown.trim());
  await guest.page.keyboard.press("Enter");
  await guest.page.getByRole("button", { name: "Log out" }).waitFor();
  await admin.act("Revoke", 'tr:has-text("for a <b>test</b>")');
  await admin.page.locator('tr:has-text("for a <b>test</b>")').getByText("revoked").waitFor();
  await guest.page.getByText("The token is no longer valid").waitFor();
  await guest.context.close();
});

await check("a dead step is retried", async () => {
  // The sweep finds a step that is too old within a minute.
  await admin.page.waitForTimeout(0);
  await admin.visit(`runs/${dead}`);
  await admin.page.locator("main").getByRole("button", { name: "Retry", exact: true }).waitFor({ timeout: 120_000 });
  await admin.visit("runs?state=dead");
  await admin.says(dead);
  await admin.visit(`runs/${dead}`);
  await admin.act("Retry");
  await admin.page.locator(".facts").getByText("queued").first().waitFor();
});

await check("a run is enqueued again", async () => {
  await admin.visit(`runs/${hostile}`);
  await admin.act("Run again");
  await admin.page.waitForURL((url) => url.hash.startsWith("#/runs/run_") && !url.hash.includes(hostile));
  await admin.says("Run of intake");
});

await check("a profile is made and changed, and an old text replaces no newer one", async () => {
  const text = admin.page.getByLabel("Content, as JSON");
  await admin.visit("edit");
  await admin.page.getByLabel("Name", { exact: true }).fill("lab");
  await text.fill('{"env": {"URL": "<b>one</b>"}, "secrets": {"LAB": "no reference"}}');
  await admin.page.getByRole("button", { name: "Create profile" }).click();
  await admin.page.getByRole("alert").getByText(/LAB|reference/).waitFor();
  await text.fill('{"env": {"URL": "<b>one</b>"}}');
  await admin.accessible("edit");
  await admin.fits("edit");
  await admin.shot("edit");
  await admin.page.getByRole("button", { name: "Create profile" }).click();
  await admin.says("Profile lab");
  await admin.says("<b>one</b>");
  await admin.visit("edit/lab");
  await text.fill('{"env": {"URL": "two"}, "egress": ');
  assert(await admin.page.getByRole("button", { name: "Save version 2" }).isDisabled());
  await text.fill('{"env": {"URL": "two"}, "egress": "none"}');
  await admin.page.getByRole("row", { name: /variable URL <b>one<\/b> two/ }).waitFor();
  await admin.page.getByRole("button", { name: "Save version 2" }).click();
  await admin.page.getByRole("heading", { name: "Profile lab", exact: true }).waitFor();
  await admin.settled();
  await admin.says("no host");
  // Two people who edit at once.
  await admin.visit("edit/lab");
  const other = await Watched.open(browser, "healthcare");
  await other.visit("edit/lab");
  await other.page.getByLabel("Content, as JSON").fill('{"env": {"URL": "three"}}');
  await other.page.getByRole("button", { name: "Save version 3" }).click();
  await other.page.getByRole("heading", { name: "Profile lab", exact: true }).waitFor();
  await other.says("three");
  await other.context.close();
  await text.fill('{"env": {"URL": "four"}}');
  await admin.page.getByRole("button", { name: "Save version 3" }).click();
  await admin.page.getByRole("alert").waitFor();
  await admin.visit("sealed/lab");
  await admin.says("three");
});

await check("four questions are answered by a few clicks from the first view, and nothing is typed", async () => {
  const counted: string[] = [];
  const asked = async (who: Watched, question: string, most: number, clicks: [string, string, string][], answer: (page: Page) => Locator): Promise<void> => {
    await who.visit("health");
    for (const [within, role, name] of clicks) {
      await who.page.locator(within).getByRole(role as "link", { name, exact: true }).first().click();
      await who.settled();
    }
    await answer(who.page).first().waitFor({ timeout: 90_000 });
    assert(clicks.length <= most, question);
    counted.push(`${question}: ${clicks.length}`);
  };
  const key = 'tr:has-text("EHR_TOKEN"):has-text("builtin://")';
  const profile: [string, string, string][] = [["nav[aria-label=Views]", "link", "Sealed"], ["main", "link", "ehr"]];
  await asked(admin, "who used this key, and when", 3, [...profile, [key, "link", "Path"]], (page) => page.getByRole("row", { name: new RegExp(hostile) }));
  await asked(admin, "what a revocation would stop", 3, [...profile, [key, "button", "Revoke"]], (page) => page.getByRole("dialog").getByText(live));
  await admin.page.keyboard.press("Escape");
  await asked(admin, "what is stuck, and why", 0, [], (page) => page.getByRole("row", { name: /stuck step.*no worker has claimed it/ }));
  await asked(operator, "what a team cost this week", 1, [["nav[aria-label=Views]", "link", "Usage"]], (page) => page.getByRole("row", { name: /^healthcare/ }));
  console.error(`      clicks: ${counted.join(", ")}`);
});

await check("a key is revoked softly, and the revocation lifted", async () => {
  await admin.visit("sealed/ehr");
  await admin.act("Revoke", 'tr:has-text("LAB_TOKEN")', { Reason: "found in <b>a log</b>" });
  await admin.says("found in <b>a log</b>");
  await admin.says("soft: nothing starts with the key");
  await admin.visit("revocations");
  await admin.act("Lift");
  await admin.says("No key is revoked.");
});

await check("a hard revocation aborts what holds the key, and says how far it is", async () => {
  await admin.visit("sealed/ehr");
  await admin.act("Revoke", 'tr:has-text("EHR_TOKEN"):has-text("builtin://")', { Kind: "hard: also aborts the runs that hold it", Reason: "leaked" });
  await admin.says("Runs that it aborts");
  await admin.says("finished");
  await admin.settled();
  await admin.accessible("revocation");
  await admin.fits("revocation");
  await admin.shot("revocation");
  await admin.visit(`runs/${live}`);
  await admin.page.locator(".facts").getByText("aborted").first().waitFor();
});

await check("a run that waits is a finding, until it is cancelled", async () => {
  await admin.visit("health");
  // It has to wait for half a minute first.
  await admin.page.locator("main").getByText("stuck step").first().waitFor({ timeout: 90_000 });
  await admin.visit(`runs/${waits}`);
  await admin.act("Cancel run");
  await admin.page.locator(".facts").getByText("aborted").first().waitFor();
});

await check("operators look after projects, and enter none", async () => {
  for (const [name, place, told] of [
    ["operator-health", "health", /Unfinished, by project/],
    ["projects", "projects", /finance/],
    ["project", "projects/healthcare", /Requests per second/],
    ["operator-sealed", "sealed", /There is no profile/],
    ["operator-revocations", "revocations", /No key/],
    ["operator-audit", "audit", /project created/],
    ["operator-usage", "usage", /healthcare/],
  ] as const) {
    await operator.visit(place);
    await operator.says(told);
    await operator.accessible(name);
    await operator.fits(name);
    await operator.shot(name);
    assert(!(await operator.text()).includes("run_"), place);
  }
  for (const place of ["runs", "inbox", "workflows", "fleet", "path", "egress", "cascade", "tokens", "contain"]) {
    await operator.visit(place);
    await operator.says("There is no such view for you");
  }
  await operator.visit("projects/finance");
  await operator.act("Set limits", "main", { "Requests per second": "77", "Requests at once": "99" });
  await operator.says("its own");
  await operator.says("77");
  await operator.act("New token", "main", { Role: "viewer" });
  await operator.page.getByLabel("The new token").getByText(/^sft\.finance\./).waitFor();
  await operator.page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
});

await check("ten thousand runs come page by page", async () => {
  // In the API's own form: a page of what is asked for, and a cursor.
  const all = Array.from({ length: 10_000 }, (_, index) => ({
    run_id: `run_0198c0de-0000-7000-8000-${String(index).padStart(12, "0")}`,
    workflow: index === 9_999 ? "last" : "w",
    state: "succeeded",
    created_at: new Date(Date.now() - index * 1000).toISOString(),
  }));
  let asked = 0;
  await admin.page.route(/\/v1\/runs\?/, async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const [from, limit] = [Number(query.get("cursor") ?? 0), Number(query.get("limit") ?? 50)];
    asked += 1;
    // With a filter, it looks through a hundred of them for each page.
    const workflow = query.get("workflow");
    const seen = workflow === null ? limit : 100;
    const items = all.slice(from, from + seen).filter((run) => workflow === null || run.workflow === workflow);
    const next = from + seen < all.length ? { next_cursor: String(from + seen) } : {};
    await route.fulfill({ json: { items, ...next } });
  });
  await admin.visit("runs?state=succeeded");
  const rows = admin.page.getByRole("row", { name: /run_/ });
  assert.equal(await rows.count(), 50);
  assert.equal(asked, 1);
  const next = admin.page.getByRole("button", { name: "Next page" });
  for (let page = 2; page <= 200; page += 1) {
    await next.click();
    await admin.page.getByText(`on page ${page}`).waitFor();
  }
  assert.equal(await rows.count(), 50);
  assert(await next.isDisabled());
  await admin.says("000000009999");
  // Where few are meant, a page is filled from several, within bounds.
  asked = 0;
  await admin.visit("runs?workflow=last");
  await admin.says("Not all runs were looked at yet; the next page goes on");
  assert.equal(asked, 10);
  await admin.page.unroute(/\/v1\/runs\?/);
});

await check("a project is contained, after a preview and with a reason", async () => {
  await neighbour.visit("contain");
  for (const row of [/^Keys of profiles .* 1$/, /^Workers and Fargate pools .* 1$/, /^Unfinished runs .* 1$/]) await neighbour.page.getByRole("row", { name: row }).waitFor();
  await neighbour.accessible("contain");
  await neighbour.fits("contain");
  await neighbour.shot("contain");
  await neighbour.page.getByLabel("Reason, for the audit trail").fill("a <b>leak</b>");
  await neighbour.page.getByLabel("Also revoke all other API tokens").check();
  await neighbour.page.getByRole("button", { name: "Contain" }).click();
  const dialog = neighbour.page.getByRole("dialog");
  await dialog.getByText("a <b>leak</b>").waitFor();
  await neighbour.accessible("contain, asked");
  await dialog.getByRole("button", { name: "Contain" }).click();
  await neighbour.says("The project is contained.");
  for (const row of [/^Keys of profiles .* 1$/, /^Workers and Fargate pools .* 1$/, /^Other API tokens .* \d+$/, /^Unfinished runs .* 1$/]) await neighbour.page.getByRole("row", { name: row }).waitFor();
  await neighbour.accessible("containment");
  // One containment in the trail, with all its parts.
  await neighbour.page.getByRole("link", { name: "This containment, in the audit trail" }).click();
  for (const event of ["project contained", "secret revoked", "worker revoked", "token revoked", "run cancelled", "project containment ended"]) await neighbour.page.getByRole("row", { name: new RegExp(event) }).first().waitFor();
  await neighbour.visit("revocations");
  await neighbour.says("a <b>leak</b>");
  await neighbour.visit("runs?state=aborted");
  await neighbour.says("close");
});

await check("logging out forgets the token", async () => {
  await admin.page.getByRole("button", { name: "Log out" }).click();
  await admin.page.getByText("You have logged out.").waitFor();
  await admin.page.reload();
  await admin.page.getByLabel("API token").waitFor();
  assert.equal(await admin.page.getByRole("navigation").count(), 0);
});

await browser.close();
const failed = results.filter((result) => result.startsWith("FAIL"));
if (failed.length > 0) {
  console.error(`\n${failed.join("\n")}`);
  process.exit(1);
}
console.error(`${results.length} checks passed`);
