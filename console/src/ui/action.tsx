// Buttons that change something. Each asks first, in a dialog that says what will happen.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Action as Name, Api } from "../api";
import { told, useApi, useMay } from "../session";

/**
 * A dialog of the browser's own: it keeps the focus inside, and Escape closes it.
 */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={props.onClose}>
      <h2 id="dialog-title">{props.title}</h2>
      {props.children}
    </dialog>
  );
}

export interface Input {
  name: string;
  label: string;
  value?: string;
  type?: "text" | "number";
  choices?: readonly string[];
  required?: boolean;
}

/**
 * A button, for whoever may do `action`; nobody else sees it. Asks, does it, and says what came of
 * it. `run` may answer with something to show, such as a new token.
 */
export function Act(props: {
  action: Name;
  label: string;
  title: string;
  children?: ComponentChildren;
  inputs?: Input[];
  danger?: boolean;
  run: (api: Api, inputs: Record<string, string>) => Promise<ComponentChildren | void>;
  done?: () => void;
}): JSX.Element | null {
  const may = useMay();
  const api = useApi();
  const [open, setOpen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const [shown, setShown] = useState<ComponentChildren>();
  if (!may(props.action)) return null;
  const close = (): void => {
    setOpen(false);
    setError(undefined);
    if (shown !== undefined) {
      setShown(undefined);
      props.done?.();
    }
  };
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const inputs = Object.fromEntries((props.inputs ?? []).map(({ name }) => [name, String(form.get(name) ?? "").trim()]));
    setBusy(true);
    setError(undefined);
    try {
      const result = await props.run(api, inputs);
      if (result === undefined) {
        setOpen(false);
        props.done?.();
      } else {
        setShown(result);
      }
    } catch (failure) {
      setError(told(failure));
    }
    setBusy(false);
  };
  return (
    <>
      <button type="button" class={props.danger ? "danger" : undefined} onClick={() => setOpen(true)}>
        {props.label}
      </button>
      {open && (
        <Dialog title={props.title} onClose={close}>
          {shown !== undefined ? (
            <>
              {shown}
              <div class="buttons">
                <button type="button" class="main" onClick={close}>
                  Close
                </button>
              </div>
            </>
          ) : (
            <form onSubmit={(event) => void submit(event)}>
              {props.children}
              {props.inputs?.map((input) => (
                <Field key={input.name} of={input} />
              ))}
              {error !== undefined && (
                <p class="trouble" role="alert">
                  {error}
                </p>
              )}
              <div class="buttons">
                <button type="submit" class={props.danger ? "danger" : "main"} disabled={busy}>
                  {props.label}
                </button>
                <button type="button" onClick={close}>
                  Back
                </button>
              </div>
            </form>
          )}
        </Dialog>
      )}
    </>
  );
}

function Field({ of: input }: { of: Input }): JSX.Element {
  const id = `input-${input.name}`;
  return (
    <div class="field">
      <label for={id}>{input.label}</label>
      {input.choices ? (
        <select id={id} name={input.name} defaultValue={input.value ?? ""}>
          {input.choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          name={input.name}
          type={input.type ?? "text"}
          defaultValue={input.value ?? ""}
          required={input.required ?? true}
          autocomplete="off"
          spellcheck={false}
        />
      )}
    </div>
  );
}
