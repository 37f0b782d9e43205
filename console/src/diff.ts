// What changed between two versions of a profile.

import type { Schemas } from "./api";
import { members } from "./text";

export interface Change {
  /** `secret EHR_TOKEN`, `variable REGION`, `egress`. */
  what: string;
  before: string | undefined;
  after: string | undefined;
}

export type Content = Schemas["ProfileContent"];

/** All that an author writes, as lines of a name and a text. The compiler asks for each new member. */
const LINES: { [K in keyof Required<Content>]: (of: NonNullable<Content[K]>) => [string, string][] } = {
  env: (of) => Object.entries(of).map(([name, value]) => [`variable ${name}`, value]),
  secrets: (of) => Object.entries(of).map(([name, uri]) => [`secret ${name}`, uri]),
  delivery: (of) => Object.entries(of).map(([name, how]) => [`delivery of ${name}`, deliveryInWords(how)]),
  remove: (of) => of.map((name) => [`removed ${name}`, "yes"]),
  tools: (of) => Object.entries(of).map(([tool, keys]) => [`tool ${tool}`, keys.join(", ") || "nothing"]),
  tags: (of) => Object.entries(of).map(([name, value]) => [`tag ${name}`, value]),
  allowed_workflows: (of) => (of.length > 0 ? [["allowed workflows", of.join(", ")]] : []),
  registered_only: (of) => (of ? [["registered workflows only", "yes"]] : []),
  egress: (of) => [["egress", egressInWords(of)]],
  identity: (of) => [["tokens for", of.audiences?.join(", ") || "nobody"]],
};

/** What changed, in the order of its names. */
export function diff(before: Content, after: Content): Change[] {
  const [old, now] = [flat(before), flat(after)];
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort();
  return names
    .filter((name) => old[name] !== now[name])
    .map((name) => ({ what: name, before: old[name], after: now[name] }));
}

/** What the author of a profile has written, without what the API adds. */
export function content(profile: Content): Content {
  const members = Object.entries(profile).filter(([name, value]) => name in LINES && value !== null);
  return Object.fromEntries(members) as Content;
}

function flat(of: Content): Record<string, string> {
  const told = Object.entries(content(of)).flatMap(([name, value]) => LINES[name as keyof Content](value as never));
  return Object.fromEntries(told);
}

/** How a secret reaches a step, in words. */
export function deliveryInWords(how: Schemas["Delivery"] | undefined): string {
  if (how === undefined || how === "env") return "variable";
  return typeof how === "string" ? how : `at egress: ${members(how.egress)}`;
}

/** An egress policy in words: `crm.example:443, *.example.org:443`. */
export function egressInWords(policy: Schemas["EgressPolicy"] | undefined | null): string {
  if (!policy) return "not narrowed here";
  if (policy === "none") return "no host";
  if (policy === "open") return "every public host";
  const rules = policy.allow.map(({ host, port, ...narrower }) => {
    // A rule is never shown wider than it is.
    const more = members(narrower);
    return `${host}:${port ?? 443}${more && ` (${more})`}`;
  });
  return rules.join(", ") || "no host";
}

/** Whether an access list shows the key to the tool; by default it does not. */
export function grants(tools: Schemas["Acl"] | undefined | null, tool: string, key: string): boolean {
  const keys = tools?.[tool] ?? [];
  return keys.includes("*") || keys.includes(key);
}
