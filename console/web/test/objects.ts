// Small objects for tests.

import { emptyModel, reset, type Model } from "../src/model.ts";
import type { Message, Meta, Request, RunnerEvent, Session } from "../src/types.ts";

export const meta = (name: string, version = "1", uid = `uid-${name}`): Meta => ({
  name, uid, resourceVersion: version, creationTimestamp: "2026-01-01T00:00:00Z",
});

export function session(status: Session["status"] = {}, goal = "Do it."): Session {
  return { metadata: meta("s"), spec: { goal }, status };
}

export function message(name: string, kind: "User" | "Agent", content: string, status: Message["status"] = {}): Message {
  return { metadata: meta(name), spec: { session: "s", content, author: { kind, name: kind.toLowerCase() } }, status };
}

export function request(name: string, spec: Omit<Request["spec"], "session" | "title">, status: Request["status"] = { state: "Open" }): Request {
  return { metadata: meta(name), spec: { session: "s", title: `May I ${name}?`, ...spec }, status };
}

export function model(messages: Message[] = [], status: Session["status"] = { state: "Working", turn: 1 }): Model {
  return reset(emptyModel(), { session: session(status), workspace: null, messages, artifacts: [], snapshots: [] });
}

type Body = RunnerEvent extends infer E ? (E extends { type: infer T; data: infer D } ? { type: T; data: D } : never) : never;

export function event(seq: number, body: Body, turn = 1, ts = `2026-01-01T00:00:${String(seq).padStart(2, "0")}Z`): RunnerEvent {
  return { epoch: 0, seq, ts, turn, ...body };
}
