// Writing a profile: its text, what would change, and the next version.

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { answered } from "../api";
import { type Content, content, diff } from "../diff";
import { go, to } from "../router";
import { told, useApi, useLoad } from "../session";
import { Asked, Code, Link, Part, Trouble, View } from "../ui/basics";
import { Changes } from "./sealed";

/** Marks that stand for characters which the console does not show as they are. */
const SPELLED = /\\u\{[0-9a-f]+\}/;

export function Edit({ name }: { name: string }): JSX.Element {
  const profile = useLoad(name, (api) => answered(api.GET("/v1/profiles/{name}", { params: { path: { name } } })));
  const view = profile.data;
  const before = view && content(view);
  return (
    <View title={`Edit profile ${name}`} aside={<Link path={["sealed", name]}>Back to the profile</Link>}>
      <Asked of={profile} />
      {before && SPELLED.test(JSON.stringify(before).replaceAll("\\\\", "\\")) ? (
        <p>
          This profile holds characters that the console does not show as they are. Change it with <Code>sealfleet profile apply</Code>.
        </p>
      ) : (
        view && before && <Editor name={name} version={view.version} before={before} />
      )}
    </View>
  );
}

export function NewProfile(): JSX.Element {
  const [name, setName] = useState("");
  return (
    <View title="New profile" aside={<Link path={["sealed"]}>All profiles</Link>}>
      <div class="field narrow">
        <label for="profile-name">Name</label>
        <input id="profile-name" value={name} onInput={(event) => setName(event.currentTarget.value.trim())} autocomplete="off" spellcheck={false} />
      </div>
      <Editor name={name} before={{}} start={{ env: {}, secrets: {}, tools: {}, egress: "none" }} />
    </View>
  );
}

/** What the text says, or why it says nothing. */
export function read(text: string): { content?: Content; error?: string } {
  try {
    const made = JSON.parse(text) as unknown;
    if (made === null || typeof made !== "object" || Array.isArray(made)) return { error: "Write an object: { … }" };
    return { content: made as Content };
  } catch (error) {
    return { error: `This is no JSON yet: ${told(error)}` };
  }
}

function Editor(props: { name: string; version?: number; before: Content; start?: Content }): JSX.Element {
  const api = useApi();
  const [text, setText] = useState(JSON.stringify(props.start ?? props.before, null, 2));
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const { name, version, before } = props;
  const { content: after, error: unread } = read(text);
  let changes: ReturnType<typeof diff> = [];
  let unshown: string | undefined;
  try {
    changes = after ? diff(before, after) : [];
  } catch {
    // A member of another form than it must have. The API says which.
    unshown = "The difference cannot be shown: some member has another form than it must have.";
  }
  const change = (next: string): void => {
    setText(next);
    // It was about another text.
    setError(undefined);
  };
  const save = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!after) return;
    setBusy(true);
    setError(undefined);
    try {
      if (version === undefined) await answered(api.POST("/v1/profiles", { body: { ...after, name } }));
      else await answered(api.PUT("/v1/profiles/{name}", { params: { path: { name }, header: { "If-Match": `"${version}"` } }, body: after }));
      go(to(["sealed", name]));
    } catch (failure) {
      setError(told(failure));
      setBusy(false);
    }
  };
  return (
    <form class="part" onSubmit={(event) => void save(event)}>
      <div class="field">
        <label for="profile-text">Content, as JSON: names and references, never values of secrets</label>
        <textarea id="profile-text" rows={18} value={text} onInput={(event) => change(event.currentTarget.value)} spellcheck={false} autocomplete="off" />
      </div>
      <Trouble error={error ?? unread ?? unshown} />
      <Part title={version === undefined ? "What it will hold" : `What changes after version ${version}`}>
        <Changes rows={changes} empty={after ? "Nothing." : "Correct the text first."} />
      </Part>
      <div class="buttons">
        <button type="submit" class="main" disabled={busy || !after || name === ""}>
          {version === undefined ? "Create profile" : `Save version ${version + 1}`}
        </button>
      </div>
      <p class="faint">Runs that have started keep the version that they started with.</p>
    </form>
  );
}
