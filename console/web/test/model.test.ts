import { describe, expect, it } from "vitest";
import { applyChange, applyEvent, artifactGroups, control, currentTurn, emptyModel, isNewer, isRunning, plan, reset, type Model } from "../src/model.ts";
import type { Artifact, Workspace } from "../src/types.ts";
import { event, message, meta, model, session } from "./objects.ts";

const after = (start: Model, ...events: ReturnType<typeof event>[]): Model => events.reduce(applyEvent, start);

describe("merging objects", () => {
  it("compares resource versions as numbers that are too long for a double", () => {
    expect(isNewer({ metadata: meta("a", "9") }, { metadata: meta("a", "10") })).toBe(true);
    expect(isNewer({ metadata: meta("a", "90071992547409931") }, { metadata: meta("a", "90071992547409930") })).toBe(false);
  });

  it("takes an object made anew under the same name even with a lower version", () => {
    expect(isNewer({ metadata: meta("a", "9") }, { metadata: meta("a", "1", "other") })).toBe(true);
  });

  it("keeps what a watch knew better than an answer that was under way", () => {
    const newer = message("m", "User", "new", { state: "Delivered" });
    newer.metadata.resourceVersion = "5";
    const watched = applyChange(model(), { type: "Applied", kind: "Message", object: newer });
    const merged = reset(watched, { session: session(), workspace: null, messages: [message("m", "User", "new", { state: "Queued" })], artifacts: [], snapshots: [] });
    expect(merged.messages.get("m")?.status?.state).toBe("Delivered");
  });

  it("does not bring a deleted object back, and drops what the server no longer has", () => {
    const gone = message("m", "User", "x");
    const deleted = applyChange(model([gone, message("n", "User", "y")]), { type: "Deleted", kind: "Message", object: gone });
    expect([...deleted.messages.keys()]).toEqual(["n"]);
    const merged = reset(deleted, { session: session(), workspace: null, messages: [gone], artifacts: [], snapshots: [] });
    expect(merged.messages.size).toBe(0);
    expect(applyChange(merged, { type: "Applied", kind: "Message", object: gone }).messages.size).toBe(0);
  });

  it("a late deletion of an older object leaves its successor alone", () => {
    const start = model([message("m", "User", "new")]);
    const old = { ...message("m", "User", "old"), metadata: meta("m", "9", "older") };
    expect(applyChange(start, { type: "Deleted", kind: "Message", object: old }).messages.get("m")?.spec.content).toBe("new");
  });
});

describe("the runner's events", () => {
  it("collect text until the message is final", () => {
    const writing = after(emptyModel(), event(1, { type: "turnStarted", data: { messageId: "m", content: "", author: "" } }),
      event(1, { type: "delta", data: { text: "He" } }), event(1, { type: "delta", data: { text: "llo" } }));
    expect(writing.live.delta).toBe("Hello");
    const done = applyEvent(writing, event(2, { type: "message", data: { text: "Hello" } }));
    expect(done.live.delta).toBe("");
    expect(done.live.lines.map((l) => l.text)).toEqual(["Hello"]);
  });

  it("count once although a reconnect replays them", () => {
    const said = event(2, { type: "message", data: { text: "x" } });
    const once = after(emptyModel(), event(1, { type: "turnStarted", data: { messageId: "m", content: "", author: "" } }), said);
    expect(applyEvent(once, said)).toBe(once);
  });

  it("a piece of text that came late changes nothing", () => {
    const done = after(emptyModel(), event(5, { type: "message", data: { text: "x" } }));
    expect(applyEvent(done, event(4, { type: "delta", data: { text: "x" } }))).toBe(done);
  });

  it("update a step in its place and close it when the turn is stopped", () => {
    const step = (seq: number, id: string, status: string): ReturnType<typeof event> => event(seq, { type: "step", data: { id, title: `do ${id}`, status } });
    const stopped = after(emptyModel(), step(1, "a", "in_progress"), step(2, "a", "completed"), step(3, "b", "in_progress"),
      event(4, { type: "turnEnded", data: { messageId: "m", stopReason: "cancelled" } }));
    expect(stopped.live.steps.map((s) => s.status)).toEqual(["completed", "cancelled"]);
    expect(stopped.live.lines.map((l) => l.text)).toEqual(["Stopped"]);
  });

  it("of an older epoch are ignored", () => {
    const start = after(emptyModel(), { ...event(1, { type: "notice", data: { text: "new" } }), epoch: 1 });
    expect(applyEvent(start, event(9, { type: "notice", data: { text: "old" } }))).toBe(start);
  });

  it("of unknown types are ignored", () => {
    const odd = { ...event(1, { type: "notice", data: { text: "x" } }), type: "later" } as unknown as ReturnType<typeof event>;
    expect(applyEvent(emptyModel(), odd).live.lines).toEqual([]);
  });
});

describe("what is derived", () => {
  it("the Session says whether the agent works until the runner does", () => {
    expect(isRunning(model([], { state: "Working" }))).toBe(true);
    expect(isRunning(after(model([], { state: "Working" }), event(1, { type: "turnEnded", data: { messageId: "m", stopReason: "end_turn" } })))).toBe(false);
    const started = event(1, { type: "turnStarted", data: { messageId: "m", content: "", author: "" } }, 4);
    expect(isRunning(after(model([], { state: "Suspended" }), started))).toBe(false);
    expect(currentTurn(after(model([], { state: "Waiting", turn: 3 }), started))).toBe(4);
  });

  it("the runner's plan goes before the recorded one", () => {
    const start = model([], { plan: [{ title: "old", status: "pending" }] });
    expect(plan(start)[0]?.title).toBe("old");
    expect(plan(after(start, event(1, { type: "plan", data: { entries: [{ title: "new", status: "pending" }] } })))[0]?.title).toBe("new");
  });

  it("versions of an artifact are together, newest first", () => {
    const artifact = (name: string, version: number): Artifact => ({ metadata: meta(`${name}-${version}`), spec: { name, version, title: "", fileName: "", mediaType: "", size: 0, turn: 1 } });
    const all = reset(emptyModel(), { session: session(), workspace: null, messages: [], artifacts: [artifact("a", 2), artifact("b", 1), artifact("a", 1)], snapshots: [] });
    expect(artifactGroups(all).map((g) => [g.name, g.versions.map((v) => v.spec.version)])).toEqual([["a", [2, 1]], ["b", [1]]]);
  });

  it("control is mine only once deskd confirmed it", () => {
    const workspace: Workspace = { metadata: meta("w"), spec: { environment: "e", control: { holder: "User", user: "jane" } }, status: { control: { holder: "Agent", epoch: 1 } } };
    const asked = { ...emptyModel(), workspace };
    expect(control(asked, "jane")).toMatchObject({ mine: false, pending: true });
    const held = { ...emptyModel(), workspace: { ...workspace, status: { control: { holder: "User" as const, user: "jane", private: true, epoch: 2 } } } };
    expect(control(held, "jane")).toMatchObject({ mine: true, pending: false, private: true });
    expect(control(held, "omar").mine).toBe(false);
  });
});
