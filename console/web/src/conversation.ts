// The conversation as it is shown: Messages in their order, with the agent's steps and notices where they happened. Pure.

import { compareIds, isOpen, isRunning, type EventId, type LiveLine, type LiveStep, type Model } from "./model.ts";
import { condition, type Message, type Request } from "./types.ts";

export type Speaker = "person" | "agent" | "system";

export type Entry =
  | {
      kind: "message";
      key: string;
      speaker: Speaker;
      author: string;
      text: string;
      at: string;
      /** Only for a person's messages: what became of it. */
      state: "sending" | "queued" | "delivered" | "done" | "dropped" | undefined;
      /** Why it was dropped. */
      why: string;
      steered: boolean;
      goal: boolean;
      abandoned: boolean;
    }
  | { kind: "steps"; key: string; steps: LiveStep[]; open: boolean }
  | { kind: "notice"; key: string; text: string }
  | { kind: "request"; key: string; request: Request; hands: Hands }
  | { kind: "typing"; key: string; text: string };

/** What a card for a Takeover must know: whether there is a desktop to take, and whether this person has it. */
export interface Hands {
  mine: boolean;
  ready: boolean;
  /** Names of attachments, for fields that want one. */
  files: string[];
}

/** Order of Messages: by their place in the conversation; those without one yet come last, in the order of creation. */
export function compareMessages(a: Message, b: Message): number {
  const [x, y] = [a.status?.seq, b.status?.seq];
  if (x !== undefined && y !== undefined) return x - y;
  if (x !== undefined) return -1;
  if (y !== undefined) return 1;
  return (
    a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp) || a.metadata.name.localeCompare(b.metadata.name)
  );
}

/** The event that an agent's Message was made from; its name ends in `-<epoch>-<seq>`. */
export function eventOf(message: Message): EventId | undefined {
  const match = /-(\d+)-(\d+)$/.exec(message.metadata.name);
  return message.spec.author?.kind === "User" || !match ? undefined : { epoch: Number(match[1]), seq: Number(match[2]) };
}

const STATES = { Queued: "queued", Delivered: "delivered", Consumed: "done", Dropped: "dropped" } as const;

function speakerOf(message: Message): Speaker {
  const kind = message.spec.author?.kind;
  return kind === "Agent" ? "agent" : kind === "System" ? "system" : "person";
}

/** A Request, and where it was asked. What a8s itself asks has no place among the events; it is asked before the work begins. */
interface Asked {
  at: EventId;
  ts: string;
  request: Request;
}

type Item = { step: LiveStep; line?: undefined; asked?: undefined } | { line: LiveLine; step?: undefined; asked?: undefined } | { asked: Asked; step?: undefined; line?: undefined };

const where = (item: Item): LiveStep | LiveLine | Asked => item.step ?? item.line ?? item.asked;

function askedAt(request: Request): Asked {
  const match = /^(\d+)-(\d+)$/.exec(request.spec.id ?? "");
  const at = match ? { epoch: Number(match[1]), seq: Number(match[2]) } : { epoch: -1, seq: 0 };
  return { at, ts: request.metadata.creationTimestamp, request };
}

/** The whole conversation, oldest first. */
export function conversation(model: Model, hands: { mine: boolean; ready: boolean } = { mine: false, ready: false }): Entry[] {
  const messages = [...model.messages.values()].sort(compareMessages);
  const recorded = new Set(messages.map(eventOf).filter((id) => id !== undefined).map((id) => `${id.epoch}.${id.seq}`));
  const items: Item[] = [
    // Without a running turn nothing goes on, whatever was heard last.
    ...model.live.steps.map((step) => ({ step: isOpen(step.status) && !isRunning(model) ? { ...step, status: "cancelled" } : step })),
    ...model.live.lines.filter((l) => l.kind === "notice" || !recorded.has(`${l.at.epoch}.${l.at.seq}`)).map((line) => ({ line })),
    ...[...model.requests.values()].map((request) => ({ asked: askedAt(request) })),
  ].sort((a, b) => compareIds(where(a).at, where(b).at) || (where(a).ts < where(b).ts ? -1 : 1));
  const files = (model.session?.spec.attachments ?? []).map((attachment) => attachment.name);

  const out: Entry[] = [];
  const goal = model.session?.spec.goal;
  if (goal !== undefined) out.push(goalEntry(model, goal, messages));

  const waiting = (m: Message): boolean => speakerOf(m) === "person" && (m.status?.state ?? "Queued") === "Queued";
  let next = 0;
  for (const message of [...messages.filter((m) => !waiting(m)), ...messages.filter(waiting)]) {
    if (isGoal(message, goal)) continue;
    // A bare Stop has no text; that the turn ended is shown where it ended.
    const text = message.spec.content ?? "";
    const at = message.status?.at ?? message.metadata.creationTimestamp;
    const id = eventOf(message) ?? model.live.started.get(message.metadata.name) ?? model.live.started.get(message.metadata.uid);
    const before = (item: Item): boolean => {
      const place = where(item);
      if (waiting(message)) return true;
      // Times of objects have a resolution of one second.
      return id ? compareIds(place.at, id) < 0 : Date.parse(place.ts) < Date.parse(at) + 1000;
    };
    for (let item = items[next]; item !== undefined && before(item); item = items[next]) {
      show(out, item, { ...hands, files });
      next += 1;
    }
    if (text !== "") out.push(messageEntry(message, text, at));
  }
  for (const item of items.slice(next)) show(out, item, { ...hands, files });
  return withTyping(model, out);
}

function isGoal(message: Message, goal: string | undefined): boolean {
  return goal !== undefined && speakerOf(message) === "person" && message.status?.seq === 1 && message.spec.content === goal;
}

function goalEntry(model: Model, goal: string, messages: Message[]): Entry {
  const message = messages.find((m) => isGoal(m, goal));
  return {
    kind: "message",
    key: "goal",
    speaker: "person",
    author: message?.spec.author?.name ?? model.session?.metadata.annotations?.["a8s.dev/created-by"] ?? "",
    text: goal,
    at: model.session?.metadata.creationTimestamp ?? "",
    state: undefined,
    why: "",
    steered: false,
    goal: true,
    abandoned: false,
  };
}

function messageEntry(message: Message, text: string, at: string): Entry {
  const speaker = speakerOf(message);
  const state = message.status?.state;
  return {
    kind: "message",
    key: `m:${message.metadata.uid}`,
    speaker,
    author: message.spec.author?.name ?? "",
    text,
    at,
    state: speaker !== "person" ? undefined : state ? STATES[state] : "sending",
    why: state === "Dropped" ? (condition(message, "Delivered")?.message ?? condition(message, "Ready")?.message ?? "") : "",
    steered: speaker === "person" && message.spec.delivery !== undefined && message.spec.delivery !== "Queue",
    goal: false,
    abandoned: message.metadata.labels?.["a8s.dev/abandoned"] === "true",
  };
}

function show(out: Entry[], item: Item, hands: Hands): void {
  const last = out.at(-1);
  if (item.asked) {
    const { request } = item.asked;
    // Only a card that offers control changes with it: a form that is being filled in must not be drawn anew.
    const idle = { mine: false, ready: false, files: hands.files };
    out.push({ kind: "request", key: `r:${request.metadata.uid}`, request: bare(request), hands: request.spec.type === "Takeover" ? hands : idle });
    return;
  }
  if (item.step) {
    const { step } = item;
    if (last?.kind === "steps" && last.steps[0]?.turn === step.turn) {
      last.steps.push(step);
      last.open ||= isOpen(step.status);
    } else {
      out.push({ kind: "steps", key: `s:${step.at.epoch}.${step.at.seq}`, steps: [step], open: isOpen(step.status) });
    }
    return;
  }
  const { line } = item;
  const key = `l:${line.at.epoch}.${line.at.seq}`;
  if (line.kind !== "said") {
    out.push({ kind: "notice", key, text: line.text });
    return;
  }
  out.push({
    kind: "message", key, speaker: "agent", author: "agent", text: line.text, at: line.ts,
    state: undefined, why: "", steered: false, goal: false, abandoned: false,
  });
}

/** Without what changes at every write, so that a card stays the same as long as it says the same. */
function bare(request: Request): Request {
  const { name, uid, creationTimestamp } = request.metadata;
  const { state, decision, outcome } = request.status ?? {};
  return {
    metadata: { name, uid, creationTimestamp, resourceVersion: "" },
    spec: request.spec,
    status: { ...(state && { state }), ...(decision && { decision }), ...(outcome && { outcome }) },
  };
}

function withTyping(model: Model, out: Entry[]): Entry[] {
  if (!isRunning(model)) return out;
  const waiting = out.findIndex((e) => e.kind === "message" && (e.state === "queued" || e.state === "sending"));
  const entry: Entry = { kind: "typing", key: "typing", text: model.live.delta };
  return waiting < 0 ? [...out, entry] : out.toSpliced(waiting, 0, entry);
}
