// Who has logged in, for all views; and how they load and change things.

import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";

import { type Action, type Api, Refused, type Session } from "./api";

/** The session, and how to end it. */
export interface Seat {
  session: Session;
  leave: (why: string) => void;
}

export const SeatOf = createContext<Seat | null>(null);

export function useSeat(): Seat {
  const seat = useContext(SeatOf);
  if (seat === null) throw new Error("nobody has logged in");
  return seat;
}

export function useApi(): Api {
  return useSeat().session.api;
}

/** Whether the API lets the caller do this. It decides again when it is asked. */
export function useMay(): (action: Action) => boolean {
  const { may } = useSeat().session.whoami;
  return (action) => may.includes(action);
}

export interface Loaded<T> {
  /** The last answer; it stays while the next is asked for. */
  data: T | undefined;
  error: string | undefined;
  again: () => void;
}

/** What `load` answers. It is asked again when `key` changes, and every so many milliseconds. */
export function useLoad<T>(
  key: string,
  load: (api: Api) => Promise<T>,
  every?: (data: T | undefined) => number | undefined,
): Loaded<T> {
  const { session, leave } = useSeat();
  const [turn, setTurn] = useState(0);
  const [state, setState] = useState<{ key: string; data?: T; error?: string }>({ key });
  const asked = useRef(0);
  useEffect(() => {
    const mine = ++asked.current;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = (data: T | undefined): void => {
      const wait = every?.(data);
      if (wait !== undefined) timer = setTimeout(later, wait);
    };
    // Nobody looks at a page in the background.
    const later = (): void => (document.hidden ? next(undefined) : setTurn((now) => now + 1));
    load(session.api).then(
      (data) => {
        if (mine !== asked.current) return;
        setState({ key, data });
        next(data);
      },
      (error: unknown) => {
        if (mine !== asked.current) return;
        if (error instanceof Refused && error.status === 401) {
          leave("The token is no longer valid. Log in again.");
          return;
        }
        setState((before) => ({ ...(before.key === key ? before : { key }), error: told(error) }));
        next(undefined);
      },
    );
    return () => {
      asked.current += 1;
      clearTimeout(timer);
    };
  }, [key, turn, session]);
  const shown = state.key === key ? state : undefined;
  return { data: shown?.data, error: shown?.error, again: () => setTurn((now) => now + 1) };
}

/** What an empty table says while nothing is known yet. */
export const LOADING = "Loading…";

/** What an empty table says: nothing is known yet, or could not be asked for, or there is nothing. */
export function emptiness(loaded: Loaded<unknown>, nothing: string): string {
  if (loaded.data !== undefined) return nothing;
  return loaded.error === undefined ? LOADING : "It could not be loaded.";
}

/** What went wrong, for people. */
export function told(error: unknown): string {
  if (error instanceof Refused) return error.message;
  if (error instanceof TypeError) return "The API cannot be reached. Check the network, and try again.";
  return error instanceof Error ? error.message : String(error);
}
