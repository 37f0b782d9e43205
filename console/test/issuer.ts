// An OIDC issuer on loopback, as strict as the standards are: codes are good once, for their own
// client, address and verifier (RFC 6749, RFC 7636). It prints its address and serves until it ends.
//
// Its login page has a button for each person: ada is an admin, eve gets a token of another login,
// and nobody is let in who refuses.

import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Granted {
  who: string;
  redirect: string;
  challenge: string;
  nonce: string;
}

const CLIENT = "sealfleet-console";
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const codes = new Map<string, Granted>();
const server = createServer((request, response) => void answer(request, response));
server.listen(0, "127.0.0.1", () => console.log(address()));

const address = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? "/", address());
  const routes: Record<string, () => void | Promise<void>> = {
    "GET /.well-known/openid-configuration": () => json(response, 200, { issuer: address(), jwks_uri: `${address()}/keys` }),
    "GET /keys": () => json(response, 200, { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "ES256" }] }),
    "GET /authorize": () => page(response, searchParams),
    "GET /decided": () => decided(response, searchParams),
    "POST /token": () => token(request, response),
  };
  await (routes[`${request.method} ${pathname}`] ?? (() => json(response, 404, {})))();
}

function json(response: ServerResponse, status: number, body: unknown, more: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...more });
  response.end(JSON.stringify(body));
}

/** Where people say who they are. */
function page(response: ServerResponse, query: URLSearchParams): void {
  const asked = ["client_id", "response_type", "response_mode", "code_challenge_method"].map((name) => query.get(name));
  const whole = ["state", "nonce", "code_challenge", "redirect_uri"].every((name) => (query.get(name) ?? "") !== "");
  const known = asked.join(" ") === `${CLIENT} code fragment S256` && query.get("scope")?.split(" ").includes("openid");
  if (!known || !whole) return json(response, 400, { error: "invalid_request" });
  response.writeHead(200, { "content-type": "text/html", "cross-origin-opener-policy": "same-origin" });
  const link = (who: string): string => `<a href="/decided?${new URLSearchParams([...query, ["who", who]]).toString().replaceAll("&", "&amp;")}">${who}</a>`;
  response.end(["<!doctype html><title>Log in</title>", ...["ada", "eve", "nobody"].map(link)].join(" "));
}

function decided(response: ServerResponse, query: URLSearchParams): void {
  const get = (name: string): string => query.get(name) ?? "";
  const code = randomUUID();
  codes.set(code, { who: get("who"), redirect: get("redirect_uri"), challenge: get("code_challenge"), nonce: get("nonce") });
  const outcome = get("who") === "nobody" ? { error: "access_denied" } : { code };
  const location = `${get("redirect_uri")}#${new URLSearchParams({ ...outcome, state: get("state"), iss: address() }).toString()}`;
  response.writeHead(302, { location, "cross-origin-opener-policy": "same-origin" });
  response.end();
}

async function token(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const part of request) body += String(part);
  const given = new URLSearchParams(body);
  const code = given.get("code") ?? "";
  const granted = codes.get(code);
  codes.delete(code);
  const challenge = createHash("sha256").update(given.get("code_verifier") ?? "").digest("base64url");
  const open = { "access-control-allow-origin": request.headers.origin ?? "", "cache-control": "no-store" };
  const good =
    granted !== undefined &&
    granted.redirect === given.get("redirect_uri") &&
    granted.challenge === challenge &&
    given.get("client_id") === CLIENT &&
    given.get("grant_type") === "authorization_code" &&
    new URL(granted.redirect).origin === request.headers.origin;
  if (!good) return json(response, 400, { error: "invalid_grant" }, open);
  const now = Math.floor(Date.now() / 1000);
  const nonce = granted.who === "eve" ? "another" : granted.nonce;
  const claims = { iss: address(), aud: CLIENT, sub: granted.who, iat: now, exp: now + 600, nonce, project: "healthcare", groups: ["admins"] };
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "ES256", kid: "one", typ: "JWT" })}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  json(response, 200, { token_type: "Bearer", id_token: `${signed}.${signature.toString("base64url")}` }, open);
}
