// The API of the console's own origin: a client that is generated from its document, the session
// of whoever has logged in, and what several views ask for.

import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "../build/api";
import { plain } from "./text";

export type Schemas = components["schemas"];
export type Whoami = Schemas["WhoamiView"];
export type Action = Whoami["may"][number];
export type Api = Client<paths>;

/** Whoever has logged in. The token is in this object's client and nowhere else. */
export interface Session {
  api: Api;
  whoami: Whoami;
}

/** A refusal, with what to do about it. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, problem: Partial<Schemas["Problem"]>) {
    super(problem.detail ?? problem.title ?? `the API answered ${status}; try again`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

/** Where the API is: the console is served at `console/` below it. */
export function baseUrl(page: string): string {
  return new URL("..", page).href.replace(/\/$/, "");
}

/** What to tell a fetch: no cookies go with it, nothing of it is cached, and it follows no redirect. */
export const ALONE: RequestInit = { credentials: "omit", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" };

/** A client that sends this token. */
export function client(token: string, base = baseUrl(location.href.replace(/[?#].*/, ""))): Api {
  const api = createClient<paths>({ baseUrl: base, headers: { authorization: `Bearer ${token}` }, ...ALONE });
  api.use({
    async onResponse({ response }) {
      if (!response.headers.get("content-type")?.includes("json")) return undefined;
      const { status, statusText, headers } = response;
      const body = JSON.stringify(plain(await response.json()));
      return new Response(body, { status, statusText, headers });
    },
  });
  return api;
}

/** The answer's body, if the API has not refused. */
export async function answered<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await asked;
  if (response.ok) return data as T;
  throw new Refused(response.status, (error ?? {}) as Partial<Schemas["Problem"]>);
}

/** Logs in: asks the API who holds the token. */
export async function login(token: string): Promise<Session> {
  const api = client(token);
  return { api, whoami: await answered(api.GET("/v1/whoami")) };
}

export interface Page<T> {
  items: T[];
  next_cursor?: string;
}

/** The items of a list, all pages up to `most` of them. */
export async function all<T>(
  most: number,
  ask: (cursor: { cursor?: string }) => Promise<Page<T>>,
): Promise<{ items: T[]; complete: boolean }> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await ask(cursor === undefined ? {} : { cursor });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== undefined && items.length < most);
  return { items, complete: cursor === undefined };
}

/** An object without the members that are not set: an absent parameter is no empty one. */
export function given<T extends Record<string, string | undefined>>(texts: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text)) as { [K in keyof T]?: string };
}
