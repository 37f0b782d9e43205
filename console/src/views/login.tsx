// Logging in, with a token or with an issuer. The token goes into the memory of this page and
// nowhere else: a reload forgets it.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { login, type Session } from "../api";
import { type Issuer, issuers, logIn } from "../oidc";
import { told } from "../session";

export function Login(props: { why: string | undefined; onLogin: (session: Session) => void }): JSX.Element {
  const [error, setError] = useState(props.why);
  const [busy, setBusy] = useState(false);
  const [known, setKnown] = useState<Issuer[]>([]);
  const waits = useRef<AbortController>();
  useEffect(() => {
    issuers().then(setKnown, (failure: unknown) => setError(told(failure)));
    return () => waits.current?.abort();
  }, []);
  /** Logs in with the token that `get` answers. */
  const enter = async (get: () => Promise<string>): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      const token = (await get()).trim();
      // A header cannot carry anything else, and no credential has it.
      if (!/^[!-~]+$/.test(token)) throw new Error("This is no token: it has spaces, or is empty.");
      props.onLogin(await login(token));
    } catch (failure) {
      setError(told(failure));
      setBusy(false);
    }
  };
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = String(new FormData(form).get("token") ?? "");
    void enter(() => Promise.resolve(token));
  };
  const withIssuer = (issuer: Issuer): void => {
    const wait = new AbortController();
    waits.current = wait;
    void enter(() => logIn(issuer, wait.signal)).finally(() => (waits.current = undefined));
  };
  return (
    <main class="login">
      <h1 tabIndex={-1}>Sealfleet</h1>
      <form onSubmit={submit}>
        <label for="token">API token, or JWT of your issuer</label>
        <input id="token" name="token" type="password" required autocomplete="off" spellcheck={false} aria-describedby="token-kept" />
        <p id="token-kept" class="faint">
          It is kept in the memory of this page until you leave it, and sent to this address only.
        </p>
        <p class="trouble" role="alert" hidden={error === undefined}>
          {error}
        </p>
        <button type="submit" class="main" disabled={busy}>
          Log in
        </button>
        {known.map((issuer) => (
          <button key={issuer.issuer} type="button" disabled={busy} onClick={() => withIssuer(issuer)}>
            {`Log in with ${issuer.issuer.replace(/^https?:\/\//, "")}`}
          </button>
        ))}
        {busy && waits.current !== undefined && (
          <>
            <p class="faint" role="status">
              Log in in the other window.
            </p>
            <button type="button" onClick={() => waits.current?.abort()}>
              Stop waiting
            </button>
          </>
        )}
      </form>
    </main>
  );
}

/** What the window of a login shows when it is done. */
export function Done(): JSX.Element {
  return (
    <main class="login">
      <h1 tabIndex={-1}>Sealfleet</h1>
      <p>The console goes on in the window where you began. You may close this one.</p>
    </main>
  );
}
