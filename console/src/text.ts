// How values become text. Text from outside is hostile: it is made plain when an answer of the API
// is read (`plain`), so no view can forget it.

/** What a terminal or a reader would act on: control characters but newline and tab, marks of direction. */
const ACTS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** The text with such characters spelled out: `\u{1b}`. */
export function plainText(text: string): string {
  return text.replace(ACTS, (sign) => `\\u{${sign.charCodeAt(0).toString(16)}}`);
}

/** The value with all its texts, and the names of its members, made plain. */
export function plain(value: unknown): unknown {
  if (typeof value === "string") return plainText(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  // Without a prototype, so that a member `__proto__` is one like any other.
  const made: Record<string, unknown> = Object.create(null);
  for (const [name, member] of Object.entries(value)) made[plainText(name)] = plain(member);
  return made;
}

/** `3 minutes ago`, `in 2 hours`. */
export function ago(time: string, now: number): string {
  const seconds = Math.round((Date.parse(time) - now) / 1000);
  const span = Math.abs(seconds);
  const [count, unit] =
    span < 60
      ? [span, "second"]
      : span < 3600
        ? [Math.round(span / 60), "minute"]
        : span < 172_800
          ? [Math.round(span / 3600), "hour"]
          : [Math.round(span / 86_400), "day"];
  const words = many(count, unit);
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

/** `1 step`, `2 steps`. */
export function many(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** `512 bytes`, `1.5 MiB`. */
export function bytes(count: number): string {
  if (count < 1024) return many(count, "byte");
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = count / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(1)} ${units[unit]}`;
}

/** `2m 05s`: how long something took. */
export function took(from: string, to: string): string {
  return duration(Date.parse(to) - Date.parse(from));
}

/** `2m 05s`: milliseconds as people say them. */
export function duration(milliseconds: number): string {
  if (milliseconds < 10_000) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds}s`;
  const rest = String(seconds % 60).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${rest}s`;
  const minutes = String(Math.floor(seconds / 60) % 60).padStart(2, "0");
  return `${Math.floor(seconds / 3600).toLocaleString("en")}h ${minutes}m`;
}

/** Names of the API as words: `dependency_failed`, `step.leased`. */
export function words(name: string): string {
  return name.replaceAll(/[._]/g, " ");
}

/** The members of an event or a failure but its kind, as `name value`. */
export function members(value: object): string {
  const told = Object.entries(value).filter(([name]) => name !== "type" && name !== "kind");
  return told.map(([name, member]) => `${words(name)} ${inWords(member)}`).join(", ");
}

function inWords(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map(inWords).join("; ");
  const told = Object.entries(value).map(([name, member]) => `${name}=${inWords(member)}`);
  return told.length === 0 ? "none" : told.join(" ");
}

/** The text, cut in its middle where it is too long for a label. */
export function shortened(text: string, most: number): string {
  const signs = Array.from(text);
  if (signs.length <= most) return text;
  const half = Math.floor((most - 1) / 2);
  return `${signs.slice(0, most - 1 - half).join("")}…${signs.slice(signs.length - half).join("")}`;
}
