/** A connection to one control plane, with one credential. */
import { open } from "node:fs/promises";
import { env } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

import { createClient, type Client } from "./api/client/index.js";

// Milliseconds. As long as API Gateway waits for an answer.
const TIMEOUT = 30_000;
const RETRIES = 3;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 3_000;
/** The longest `Retry-After` that is waited for; a longer one is the caller's to decide on. */
const LONGEST_TOLD = 10_000;

export interface Place {
  /** `https://…`, without `/v1`. */
  url: string;
  /** A token of the API or of OpenID Connect. */
  token: string;
  /** Sends the requests. */
  fetch?: typeof fetch;
}

/** What the functions of `sealfleet/api` take as `client`. */
export function connect(place: Place): Client {
  const baseUrl = usable(place.url);
  // Printed, a function shows nothing of what it answers.
  const auth = () => place.token;
  const retried = retrying(place.fetch ?? fetch);
  // A redirect would carry the request elsewhere; this API has none.
  return createClient({ baseUrl, auth, fetch: retried, parseAs: "json", redirect: "manual" });
}

/** As `SEALFLEET_API_URL` and `SEALFLEET_TOKEN_FILE` say, like the command line. */
export async function connectFromEnvironment(): Promise<Client> {
  const [url, file] = [env.SEALFLEET_API_URL, env.SEALFLEET_TOKEN_FILE];
  if (!url || !file) {
    throw new Error("set the environment variables SEALFLEET_API_URL and SEALFLEET_TOKEN_FILE");
  }
  return connect({ url, token: await readToken(file) });
}

/**
 * Sends a request again when it had no answer, a 429 or a 5xx, with full jitter.
 *
 * A request whose answer was lost may have been carried out. So only what changes nothing the
 * second time is sent again: `GET`, and what has an idempotency key.
 */
export function retrying(send: typeof fetch, pause: (ms: number) => Promise<unknown> = sleep) {
  return async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const repeatable = request.method === "GET" || request.headers.has("idempotency-key");
    for (let attempt = 0; ; attempt += 1) {
      const last = !repeatable || attempt === RETRIES;
      let told = 0;
      try {
        const signal = AbortSignal.any([request.signal, AbortSignal.timeout(TIMEOUT)]);
        const response = await send(request.clone(), { signal });
        const passing = response.status === 429 || response.status >= 500;
        told = retryAfter(response);
        if (!passing || last || told > LONGEST_TOLD) return response;
        await response.body?.cancel();
      } catch (error) {
        if (last || request.signal.aborted) throw error;
      }
      const most = Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE);
      await pause(told + Math.random() * most);
    }
  };
}

/** Milliseconds that the answer tells to wait; a date is not waited for. */
function retryAfter(response: Response): number {
  const told = response.headers.get("retry-after") ?? "";
  return /^[0-9]+$/.test(told) ? Number(told) * 1000 : 0;
}

/** The credential in a file, which nobody but its owner may read. */
export async function readToken(path: string): Promise<string> {
  const file = await open(path);
  try {
    const status = await file.stat();
    if (status.isFile() && (status.mode & 0o077) !== 0) {
      throw new Error(`the file \`${path}\` can be read by others: run \`chmod 600 ${path}\``);
    }
    const token = (await file.readFile("utf8")).trim();
    if (!/^[!-~]+$/.test(token)) {
      throw new Error(`the file \`${path}\` does not hold a credential: it must be one line of text`);
    }
    return token;
  } finally {
    await file.close();
  }
}

/** The address without a slash at its end. Plain `http` goes to this machine only. */
export function usable(url: string): string {
  if (!URL.canParse(url)) throw new Error(`write the API's address \`${url}\` as \`https://HOST\``);
  const parsed = new URL(url);
  if (parsed.username || parsed.password) {
    throw new Error("the API's address must not hold a user or password");
  }
  if (parsed.search || parsed.hash) {
    throw new Error(`the API's address \`${url}\` must not have a query or fragment`);
  }
  if (parsed.protocol === "http:" && !isThisMachine(parsed.hostname)) {
    throw new Error(`\`${url}\`: a credential is sent over \`https\` only, except to this machine`);
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
    throw new Error(`write the API's address \`${url}\` as \`https://HOST\``);
  }
  return url.replace(/\/+$/, "");
}

function isThisMachine(host: string): boolean {
  // URL writes every IPv4 address as four numbers.
  const address = host === "[::1]" || /^127(\.[0-9]+){3}$/.test(host);
  return address || host === "localhost" || host.endsWith(".localhost");
}
