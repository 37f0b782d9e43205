// Serves the console while it is changed: files of a build that is repeated at each change, with the
// headers of a stack's own console; everything else is passed on to that stack.
//
//   npm run dev -- API_URL

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { build } from "vite";

const api = process.argv[2];
if (api === undefined) {
  console.error("name the API of a stack: npm run dev -- API_URL (api_url of its stack.json)");
  process.exit(2);
}
await build({ build: { watch: {} }, logLevel: "warn" });

const port = 5199;
createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
  const { host, connection, "content-length": length, "if-none-match": known, ...headers } = request.headers;
  const answer = await fetch(api + request.url, { method: request.method, headers, body, redirect: "manual" });
  const name = /^\/console\/([a-z.]*)$/.exec(request.url ?? "")?.[1];
  const kept = [...answer.headers].filter(([header]) => !["content-length", "content-encoding", "etag", "transfer-encoding"].includes(header));
  response.writeHead(answer.status, Object.fromEntries(kept));
  const file = name !== undefined && answer.ok ? readFileSync(`dist/${name || "index.html"}`) : Buffer.from(await answer.arrayBuffer());
  response.end(file);
}).listen(port, "127.0.0.1", () => console.error(`http://127.0.0.1:${port}/console/`));
