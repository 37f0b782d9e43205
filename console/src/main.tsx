// Where the console begins.

import { render } from "preact";

import { App } from "./app";
import { returned, tell } from "./oidc";
import { Done } from "./views/login";

const root = document.getElementById("console");
const answer = returned(location.href);
if (answer !== undefined) {
  // The window of a login: an issuer has sent it back.
  tell(answer);
  close();
}
if (root !== null) render(answer === undefined ? <App /> : <Done />, root);
