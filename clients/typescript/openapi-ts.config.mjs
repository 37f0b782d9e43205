// What src/api is generated with.
import { env } from "node:process";

export default {
  input: "../../docs/openapi.json",
  output: { path: env.GENERATED ?? "src/api", importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
  logs: { file: false },
};
