// Logging in with an issuer of the deployment: authorization code with PKCE (RFC 6749, section 4.1;
// RFC 7636). It takes place in a window of its own, so this page stays, and with it the verifier
// and the token, which are in its memory and nowhere else.

import { ALONE } from "./api";
import { plain } from "./text";

/** An issuer that people can log in with, as `login.json` has it. */
export interface Issuer {
  issuer: string;
  client_id: string;
  authorization_endpoint: string;
  token_endpoint: string;
  scope: string;
  /** Which token of its answer is meant for this API. */
  token: "id_token" | "access_token";
}

/** What the issuer sends its window back with. */
export interface Returned {
  state: string;
  code?: string;
  error?: string;
  iss?: string;
}

/** How the window of a login tells this page. No other origin hears it. */
const CHANNEL = "sealfleet-login";

/** The issuers that people can log in with. */
export async function issuers(): Promise<Issuer[]> {
  const response = await fetch("login.json", ALONE);
  if (!response.ok) throw new Error("The issuers that you could log in with cannot be loaded. Reload the page, or use a token.");
  return plain(await response.json()) as Issuer[];
}

/** What the address of a window says that an issuer has sent here; nothing for any other page. */
export function returned(address: string): Returned | undefined {
  const { hash, search } = new URL(address);
  // Asked for is the fragment, which no server sees. Some issuers know the query alone.
  for (const text of [hash.slice(1), search.slice(1)]) {
    if (text.startsWith("/")) continue;
    const given = new URLSearchParams(text);
    const [state, code, error, iss] = ["state", "code", "error", "iss"].map((name) => given.get(name) ?? undefined);
    if (state === undefined || (code ?? error) === undefined) continue;
    return { state, ...(code !== undefined && { code }), ...(error !== undefined && { error }), ...(iss !== undefined && { iss }) };
  }
  return undefined;
}

/** Tells the page that waits, and forgets. */
export function tell(answer: Returned): void {
  history.replaceState(null, "", location.pathname);
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(answer);
  channel.close();
}

/** Logs in with an issuer; answers the token. `signal` ends the wait. */
export async function logIn(issuer: Issuer, signal: AbortSignal): Promise<string> {
  const [verifier, state, nonce] = [random(), random(), random()];
  const redirect = new URL(".", location.href.replace(/[?#].*/s, "")).href;
  const address = new URL(issuer.authorization_endpoint);
  address.search = new URLSearchParams({
    response_type: "code",
    response_mode: "fragment",
    client_id: issuer.client_id,
    redirect_uri: redirect,
    scope: issuer.scope,
    state,
    nonce,
    code_challenge: base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))),
    code_challenge_method: "S256",
  }).toString();
  const answer = waitFor(state, signal);
  if (window.open(address, "_blank", "popup,width=520,height=720") === null) throw new Error("The browser did not open a window: allow this page to, and try again.");
  const { code, error, iss } = await answer;
  // Another issuer's answer would send its code to this one (RFC 9207).
  if (iss !== undefined && iss !== issuer.issuer) throw new Error("Another issuer answered. Log in again.");
  if (code === undefined) throw new Error(`The issuer refused: ${String(plain(error))}`);
  const token = await exchanged(issuer, { code, redirect_uri: redirect, code_verifier: verifier }, signal);
  if (issuer.token === "id_token" && claim(token, "nonce") !== nonce) throw new Error("The issuer's token belongs to another login. Log in again.");
  return token;
}

/** The answer to the login with this state. Answers to others are not heard. */
function waitFor(state: string, signal: AbortSignal): Promise<Returned> {
  return new Promise((resolve, reject) => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = ({ data }: MessageEvent<Returned>) => {
      if (data.state !== state) return;
      channel.close();
      resolve(data);
    };
    signal.addEventListener("abort", () => {
      channel.close();
      reject(new Error("You have stopped the login."));
    });
  });
}

/** The issuer's token for a code (RFC 6749, section 4.1.3). */
async function exchanged(issuer: Issuer, given: Record<string, string>, signal: AbortSignal): Promise<string> {
  const body = new URLSearchParams({ grant_type: "authorization_code", client_id: issuer.client_id, ...given });
  const asked = fetch(issuer.token_endpoint, { ...ALONE, method: "POST", body, signal, headers: { accept: "application/json" } });
  const response = await asked.catch(() => {
    throw new Error(`The issuer does not answer this page. It must allow ${location.origin} to call its token endpoint (CORS).`);
  });
  const answer = plain(await response.json().catch(() => ({}))) as Record<string, unknown>;
  const token = answer[issuer.token];
  if (response.ok && typeof token === "string") return token;
  const why = answer["error_description"] ?? answer["error"] ?? `it answered ${response.status} without an \`${issuer.token}\``;
  throw new Error(`The issuer refused: ${String(why)}`);
}

/** A claim of a JWT whose signature the API checks. */
function claim(jwt: string, name: string): unknown {
  try {
    const payload = (jwt.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    return (JSON.parse(atob(payload)) as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

/** 256 bits that nobody guesses. */
function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)).buffer);
}

function base64url(bytes: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
