// What is known of one Session: Kubernetes objects merged by resource version, and the runner's live events.
// Pure: a function takes the old model and a change and gives the new model. It never talks to the server.

import type { ClipboardRule, Artifact, Detail, KubeObject, Message, ObjectChange, PlanStep, Request, RunnerEvent, Session, Snapshot, Workspace } from "./types.ts";

/** Place of an event in the conversation. */
export interface EventId {
  epoch: number;
  seq: number;
}

export interface LiveStep {
  /** Where it began. */
  at: EventId;
  ts: string;
  turn: number;
  id: string;
  title: string;
  status: string;
}

/** A line of the conversation that is known from the runner only. */
export interface LiveLine {
  kind: "said" | "notice" | "ended";
  at: EventId;
  ts: string;
  turn: number;
  text: string;
}

export interface Live {
  last: EventId;
  running: boolean;
  turn: number;
  /** Text of the message that is being written. */
  delta: string;
  steps: LiveStep[];
  lines: LiveLine[];
  plan: PlanStep[] | undefined;
  /** Message id → the event that began its turn. */
  started: ReadonlyMap<string, EventId>;
}

export interface Model {
  session: Session | undefined;
  workspace: Workspace | undefined;
  messages: ReadonlyMap<string, Message>;
  requests: ReadonlyMap<string, Request>;
  artifacts: ReadonlyMap<string, Artifact>;
  snapshots: ReadonlyMap<string, Snapshot>;
  /** UIDs of deleted objects: an answer that was under way must not bring them back. */
  gone: ReadonlySet<string>;
  live: Live;
}

/** Steps and lines kept in memory; older ones are in the objects anyway. */
const KEPT = 400;

export function emptyModel(): Model {
  return {
    session: undefined,
    workspace: undefined,
    messages: new Map(),
    requests: new Map(),
    artifacts: new Map(),
    snapshots: new Map(),
    gone: new Set(),
    live: { last: { epoch: -1, seq: -1 }, running: false, turn: 0, delta: "", steps: [], lines: [], plan: undefined, started: new Map() },
  };
}

export function compareIds(a: EventId, b: EventId): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}

/** Whether `next` is at least as new as `held`. An object made anew under the same name has another UID and is always newer. */
export function isNewer(held: KubeObject | undefined, next: KubeObject): boolean {
  if (held === undefined || held.metadata.uid !== next.metadata.uid) return true;
  const [a, b] = [held.metadata.resourceVersion, next.metadata.resourceVersion];
  // Resource versions are decimal numbers too long for a double.
  return b.length !== a.length ? b.length > a.length : b >= a;
}

function put<T extends KubeObject>(held: ReadonlyMap<string, T>, object: T): ReadonlyMap<string, T> {
  if (!isNewer(held.get(object.metadata.name), object)) return held;
  return new Map(held).set(object.metadata.name, object);
}

function without<T extends KubeObject>(held: ReadonlyMap<string, T>, object: T): ReadonlyMap<string, T> {
  if (held.get(object.metadata.name)?.metadata.uid !== object.metadata.uid) return held;
  const next = new Map(held);
  next.delete(object.metadata.name);
  return next;
}

function newest<T extends KubeObject>(held: T | undefined, next: T): T {
  return held !== undefined && !isNewer(held, next) ? held : next;
}

/** Takes a whole answer of the server: what is missing there is gone, what a watch already knows better stays. */
export function reset(model: Model, detail: Detail): Model {
  const merge = <T extends KubeObject>(held: ReadonlyMap<string, T>, list: T[]): ReadonlyMap<string, T> => {
    const next = new Map<string, T>();
    for (const object of list) {
      if (!model.gone.has(object.metadata.uid)) next.set(object.metadata.name, newest(held.get(object.metadata.name), object));
    }
    return next;
  };
  return {
    ...model,
    session: newest(model.session, detail.session),
    workspace: detail.workspace ? newest(model.workspace, detail.workspace) : undefined,
    messages: merge(model.messages, detail.messages),
    requests: merge(model.requests, detail.requests ?? []),
    artifacts: merge(model.artifacts, detail.artifacts),
    snapshots: merge(model.snapshots, detail.snapshots),
  };
}

/** Takes one change that a watch saw. */
export function applyChange(model: Model, change: ObjectChange): Model {
  const { uid } = change.object.metadata;
  const deleted = change.type === "Deleted";
  if (!deleted && model.gone.has(uid)) return model;
  const gone = deleted ? new Set(model.gone).add(uid) : model.gone;
  switch (change.kind) {
    case "Session":
      return { ...model, gone, session: deleted ? undefined : newest(model.session, change.object) };
    case "Workspace":
      return { ...model, gone, workspace: deleted ? undefined : newest(model.workspace, change.object) };
    case "Message":
      return { ...model, gone, messages: (deleted ? without : put)(model.messages, change.object) };
    case "Request":
      return { ...model, gone, requests: (deleted ? without : put)(model.requests, change.object) };
    case "Artifact":
      return { ...model, gone, artifacts: (deleted ? without : put)(model.artifacts, change.object) };
    case "Snapshot":
      return { ...model, gone, snapshots: (deleted ? without : put)(model.snapshots, change.object) };
    default:
      return model;
  }
}

const STOPPED: Readonly<Record<string, string>> = {
  cancelled: "Stopped",
  interrupted: "Interrupted",
  error: "The turn failed",
  refusal: "The agent refused",
  max_tokens: "The turn ended: token limit reached",
  max_turn_requests: "The turn ended: request limit reached",
};

/** Takes one event of the runner. Events may come twice (a replay after a reconnect); the second is ignored. */
export function applyEvent(model: Model, event: RunnerEvent): Model {
  const live = liveAfter(model.live, event);
  return live === model.live ? model : { ...model, live };
}

function liveAfter(live: Live, event: RunnerEvent): Live {
  const at: EventId = { epoch: event.epoch, seq: event.seq };
  if (event.type === "delta") {
    // Its id is that of the last recorded event, so an older one belongs to text that is final by now.
    if (compareIds(at, live.last) < 0) return live;
    return { ...live, running: true, turn: event.turn, delta: live.delta + event.data.text };
  }
  if (compareIds(at, live.last) <= 0) return live;
  const next: Live = { ...live, last: at };
  const line = (kind: LiveLine["kind"], text: string): LiveLine[] =>
    [...live.lines, { kind, at, ts: event.ts, turn: event.turn, text }].slice(-KEPT);
  switch (event.type) {
    case "turnStarted":
      return { ...next, running: true, turn: event.turn, delta: "", started: new Map(live.started).set(event.data.messageId, at) };
    case "turnEnded": {
      const stopped = STOPPED[event.data.stopReason];
      const text = stopped === undefined ? undefined : event.data.detail ? `${stopped}: ${event.data.detail}` : stopped;
      return {
        ...next,
        running: false,
        delta: "",
        lines: text === undefined ? live.lines : line("ended", text),
        // A stopped turn leaves its last step behind as begun.
        steps: live.steps.map((s) => (s.turn === event.turn && isOpen(s.status) ? { ...s, status: "cancelled" } : s)),
      };
    }
    case "message":
      return { ...next, delta: "", lines: line("said", event.data.text) };
    case "step": {
      const held = live.steps.findIndex((s) => s.id === event.data.id && s.turn === event.turn && s.at.epoch === event.epoch);
      const old = live.steps[held];
      if (old === undefined) {
        return { ...next, steps: [...live.steps, { at, ts: event.ts, turn: event.turn, ...event.data }].slice(-KEPT) };
      }
      return { ...next, steps: live.steps.with(held, { ...old, title: event.data.title || old.title, status: event.data.status }) };
    }
    case "plan":
      return { ...next, plan: event.data.entries };
    case "notice":
      return { ...next, lines: line("notice", event.data.text) };
    default:
      return next;
  }
}

/** Whether a step still goes on. */
export function isOpen(status: string): boolean {
  return status === "pending" || status === "in_progress";
}

/** Whether the agent works right now. */
export function isRunning(model: Model): boolean {
  const state = model.session?.status?.state;
  if (state === "Suspended" || state === "Terminated") return false;
  // The runner knows first; the Session's status is what there is before the first event.
  return model.live.last.epoch >= 0 ? model.live.running : state === "Working";
}

/** The running turn, for a Stop that must not hit a later one. */
export function currentTurn(model: Model): number {
  return Math.max(model.live.turn, model.session?.status?.turn ?? 0);
}

/** The newest plan. */
export function plan(model: Model): PlanStep[] {
  return model.live.plan ?? model.session?.status?.plan ?? [];
}

/** Versions of every artifact, newest first, in the order in which the artifacts first appeared. */
export function artifactGroups(model: Model): { name: string; versions: Artifact[] }[] {
  const groups = new Map<string, Artifact[]>();
  const sorted = [...model.artifacts.values()].sort(
    (a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp) || a.spec.version - b.spec.version || a.spec.name.localeCompare(b.spec.name),
  );
  for (const artifact of sorted) groups.set(artifact.spec.name, [...(groups.get(artifact.spec.name) ?? []), artifact]);
  return [...groups].map(([name, list]) => ({
    name,
    versions: list.sort((a, b) => (b.spec.epoch ?? 0) - (a.spec.epoch ?? 0) || b.spec.version - a.spec.version),
  }));
}

/** Who holds mouse and keyboard, as deskd confirmed it. */
export function control(model: Model, me: string): { mine: boolean; holder: "Agent" | "User"; user: string; private: boolean; pending: boolean } {
  const status = model.workspace?.status?.control;
  const spec = model.workspace?.spec.control;
  const holder = status?.holder ?? "Agent";
  const user = status?.user ?? "";
  const wanted = spec?.holder ?? "Agent";
  return {
    mine: holder === "User" && user === me,
    holder,
    user,
    private: holder === "User" && status?.private === true,
    pending: wanted !== holder || (wanted === "User" && spec?.user !== undefined && spec.user !== user),
  };
}

/** Which way the clipboard's text may go. */
export function clipboardRule(model: Model): ClipboardRule {
  return model.workspace?.status?.control?.clipboard ?? "Both";
}

/** Who sees the desktop, each person once, in the order of their names. */
export function audience(model: Model): string[] {
  const all = model.workspace?.status?.control?.audience ?? [];
  return [...new Set(all.map((one) => (typeof one === "string" ? one : one.user)))].sort((a, b) => a.localeCompare(b));
}

/** Whether a Request waits for a person. One that was decided a moment ago does not, though the controller has not said so yet. */
export function isWaiting(request: Request): boolean {
  return (request.status?.state ?? "Open") === "Open" && request.status?.decision === undefined;
}

/** Requests that wait for a person, oldest first. */
export function waiting(model: Model): Request[] {
  return [...model.requests.values()].filter(isWaiting)
    .sort((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp) || a.metadata.name.localeCompare(b.metadata.name));
}

/** Whether the Session is still a talk about what is wanted: nothing has been handed over, so there is no desktop. */
export function isChatting(model: Model): boolean {
  return model.session?.status?.state === "Chatting" && model.workspace === undefined;
}

/** Whether the desktop fell asleep because nobody used it, so that anybody who wants it back wakes it. */
export function isAsleep(workspace: Workspace | undefined): boolean {
  const status = workspace?.status;
  return (workspace?.spec.state ?? "Running") === "Running" && status?.idleSince !== undefined && status.suspendedSince !== undefined;
}

/** What the list and the head say of a Session: its state, or that it only sleeps. */
export function stateWord(session: Session): string {
  if (session.metadata.deletionTimestamp) return "Deleting";
  const state = session.status?.state ?? "Pending";
  const idle = session.status?.conditions?.some((c) => c.type === "Ready" && c.reason === "Idle") ?? false;
  return state === "Suspended" && idle ? "Asleep" : state;
}
