// The shell: login, navigation, and which view a place shows.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Action, Session } from "./api";
import { type Place, usePlace } from "./router";
import { SeatOf, useMay, useSeat } from "./session";
import { Link, View } from "./ui/basics";
import { Audit, EntryView } from "./views/audit";
import { Contain, Containment } from "./views/contain";
import { Edit, NewProfile } from "./views/edit";
import { Egress } from "./views/egress";
import { Fleet, Worker } from "./views/fleet";
import { Health } from "./views/health";
import { ApprovalView, Inbox } from "./views/inbox";
import { Login } from "./views/login";
import { Projects, ProjectView, Tokens } from "./views/operators";
import { Path } from "./views/path";
import { RevocationView, Revocations } from "./views/revocations";
import { Run } from "./views/run";
import { Runs } from "./views/runs";
import { Cascade, ProfileView, Sealed } from "./views/sealed";
import { Usage } from "./views/usage";
import { Workflows, WorkflowView } from "./views/workflows";

interface Room {
  /** The first part of its places. */
  name: string;
  /** Its name in the navigation; absent for what other views lead to. */
  title?: string;
  /** What its visitors must be allowed to do. */
  needs: Action;
  /** Only for a project's callers, or only for operators, who do not enter projects. */
  of?: "project" | "operators";
  view: (place: Place) => JSX.Element;
}

const ROOMS: Room[] = [
  { name: "health", title: "Health", needs: "ReadProject", view: () => <Health /> },
  { name: "runs", title: "Runs", needs: "ReadRuns", view: ({ path: [, id], query }) => (id ? <Run key={id} id={id} query={query} /> : <Runs query={query} />) },
  { name: "inbox", title: "Inbox", needs: "ReadApprovals", of: "project", view: ({ path: [, id], query }) => (id ? <ApprovalView key={id} id={id} /> : <Inbox query={query} />) },
  { name: "workflows", title: "Workflows", needs: "ReadWorkflows", of: "project", view: ({ path: [, name], query }) => (name ? <WorkflowView key={name} name={name} query={query} /> : <Workflows />) },
  { name: "fleet", title: "Fleet", needs: "ReadWorkers", view: ({ path: [, id] }) => (id ? <Worker key={id} id={id} /> : <Fleet />) },
  { name: "sealed", title: "Sealed", needs: "ReadProfiles", view: ({ path: [, name], query }) => (name ? <ProfileView key={name} name={name} query={query} /> : <Sealed />) },
  { name: "edit", needs: "WriteProfile", view: ({ path: [, name] }) => (name ? <Edit key={name} name={name} /> : <NewProfile />) },
  { name: "cascade", needs: "ReadProfiles", of: "project", view: ({ query }) => <Cascade query={query} /> },
  { name: "revocations", title: "Revocations", needs: "ReadRevocations", view: ({ path: [, id], query }) => (id ? <RevocationView key={id} id={id} /> : <Revocations query={query} />) },
  { name: "path", title: "Path", needs: "ReadAudit", of: "project", view: ({ query }) => <Path query={query} /> },
  { name: "egress", title: "Egress", needs: "ReadAudit", of: "project", view: ({ query }) => <Egress query={query} /> },
  { name: "audit", title: "Audit", needs: "ReadAudit", view: ({ path: [, id], query }) => (id ? <EntryView key={id} id={id} /> : <Audit query={query} />) },
  { name: "usage", title: "Usage", needs: "ReadUsage", view: ({ query }) => <Usage query={query} /> },
  { name: "tokens", title: "Tokens", needs: "ListTokens", of: "project", view: () => <Tokens /> },
  { name: "contain", title: "Contain", needs: "Contain", of: "project", view: ({ path: [, id] }) => (id ? <Containment key={id} id={id} /> : <Contain />) },
  { name: "projects", title: "Projects", needs: "ListProjects", of: "operators", view: ({ path: [, project] }) => (project ? <ProjectView key={project} project={project} /> : <Projects />) },
];

export function App(): JSX.Element {
  const [session, setSession] = useState<Session>();
  const [why, setWhy] = useState<string>();
  if (session === undefined) {
    return (
      <Login
        why={why}
        onLogin={(next) => {
          setWhy(undefined);
          setSession(next);
        }}
      />
    );
  }
  const leave = (reason: string): void => {
    setWhy(reason);
    setSession(undefined);
  };
  return (
    <SeatOf.Provider value={{ session, leave }}>
      <House />
    </SeatOf.Provider>
  );
}

/** Whether this caller may enter a room. */
function open(room: Room, project: string | undefined, may: (action: Action) => boolean): boolean {
  const meant = room.of === undefined || (room.of === "project") === (project !== undefined);
  return meant && may(room.needs);
}

function House(): JSX.Element {
  const place = usePlace();
  const may = useMay();
  const { session, leave } = useSeat();
  const { project, role, actor } = session.whoami;
  const rooms = ROOMS.filter((room) => open(room, project, may));
  const name = place.path[0] ?? "health";
  const room = rooms.find((one) => one.name === name);
  const path = place.path.join("/");
  useEffect(() => {
    const heading = document.querySelector<HTMLElement>("h1");
    heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [path]);
  useEffect(() => {
    document.title = `${room?.title ?? name} · Sealfleet`;
  }, [name]);
  return (
    <>
      <a class="skip" href={`#/${path}`} onClick={(event) => skip(event)}>
        Skip to the content
      </a>
      <header>
        <p class="brand">Sealfleet</p>
        <nav aria-label="Views">
          <ul>
            {rooms.map(
              ({ name: one, title }) =>
                title !== undefined && (
                  <li key={one} class={one === name ? "here" : undefined} aria-current={one === name ? "page" : undefined}>
                    <Link path={[one]}>{title}</Link>
                  </li>
                ),
            )}
          </ul>
        </nav>
        <div class="who">
          <p title={actor}>{project === undefined ? "operator" : `${role} of ${project}`}</p>
          <button type="button" onClick={() => leave("You have logged out.")}>
            Log out
          </button>
        </div>
      </header>
      <main>{room ? room.view(place) : <Nowhere />}</main>
    </>
  );
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("h1")?.focus();
}

function Nowhere(): JSX.Element {
  return (
    <View title="Nothing here">
      <p>There is no such view for you. Your token decides which views there are.</p>
    </View>
  );
}
