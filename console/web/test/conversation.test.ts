import { describe, expect, it } from "vitest";
import { compareMessages, conversation, type Entry } from "../src/conversation.ts";
import { applyEvent, type Model } from "../src/model.ts";
import { event, message, meta, model } from "./objects.ts";

const words = (entries: Entry[]): string[] =>
  entries.map((e) => (e.kind === "steps" ? `steps:${e.steps.map((s) => s.title).join("+")}` : e.kind === "typing" ? `typing:${e.text}` : e.kind === "request" ? `request:${e.request.spec.title}` : e.text));
const after = (start: Model, ...events: ReturnType<typeof event>[]): Model => events.reduce(applyEvent, start);
const started = (seq: number, messageId: string, turn = 1): ReturnType<typeof event> => event(seq, { type: "turnStarted", data: { messageId, content: "", author: "" } }, turn);
const step = (seq: number, title: string, turn = 1): ReturnType<typeof event> => event(seq, { type: "step", data: { id: title, title, status: "completed" } }, turn);
const ended = (seq: number, stopReason = "end_turn", turn = 1): ReturnType<typeof event> => event(seq, { type: "turnEnded", data: { messageId: "", stopReason } }, turn);

describe("the conversation", () => {
  it("orders messages by their place and puts those without one last", () => {
    const list = [message("c", "User", "c"), message("b", "User", "b", { seq: 10 }), message("a", "User", "a", { seq: 9 })];
    expect(list.sort(compareMessages).map((m) => m.metadata.name)).toEqual(["a", "b", "c"]);
  });

  it("begins with the goal, and says it once although it is a Message too", () => {
    const start = model([message("s-goal", "User", "Do it.", { seq: 1, state: "Delivered" })], { state: "Waiting" });
    expect(words(conversation(start))).toEqual(["Do it."]);
  });

  it("shows an agent's message once: live first, then as the object made from it", () => {
    const said = event(4, { type: "message", data: { text: "Done." } });
    const live = after(model(), said, ended(5));
    expect(words(conversation(live))).toEqual(["Do it.", "Done."]);
    const recorded = after(model([message("s-0-4", "Agent", "Done.", { seq: 1 })]), said, ended(5));
    expect(words(conversation(recorded))).toEqual(["Do it.", "Done."]);
  });

  it("puts steps where they happened, by event and not by the coarse times of objects", () => {
    const at = "2026-01-01T00:00:00Z";
    const messages = [
      message("s-0-4", "Agent", "first done", { seq: 1, state: "Consumed", at }),
      message("next", "User", "go on", { seq: 2, state: "Delivered", at }),
      message("s-0-9", "Agent", "second done", { seq: 3, state: "Consumed", at }),
    ];
    const all = after(model(messages), started(1, "goal"), step(2, "a"), step(3, "b"), ended(5), started(6, "next", 2), step(7, "c", 2), ended(10, "end_turn", 2));
    expect(words(conversation(all))).toEqual(["Do it.", "steps:a+b", "first done", "go on", "steps:c", "second done"]);
  });

  it("waiting messages come after what the agent is writing", () => {
    const all = after(model([message("q", "User", "later", { seq: 2, state: "Queued" })]), started(1, "goal"), step(2, "a"), event(2, { type: "delta", data: { text: "wri" } }));
    expect(words(conversation(all))).toEqual(["Do it.", "steps:a", "typing:wri", "later"]);
  });

  it("a message says what became of it, and why it was dropped", () => {
    const dropped = message("m", "User", "x", { seq: 1, state: "Dropped", conditions: [{ type: "Delivered", status: "False", reason: "SessionOver", message: "the Session is over" }] });
    const [, entry] = conversation(model([dropped], { state: "Waiting" }));
    expect(entry).toMatchObject({ state: "dropped", why: "the Session is over" });
    const [, fresh] = conversation(model([message("m", "User", "x")], { state: "Waiting" }));
    expect(fresh).toMatchObject({ state: "sending" });
  });

  it("a bare Stop is no bubble; that the turn was stopped is a line", () => {
    const stop = message("stop", "User", "", { seq: 1, state: "Consumed" });
    delete stop.spec.content;
    expect(words(conversation(after(model([stop]), started(1, "goal"), ended(2, "cancelled"))))).toEqual(["Do it.", "Stopped"]);
  });

  it("marks messages that a restore left behind", () => {
    const left = message("m", "User", "x", { seq: 1, state: "Consumed" });
    left.metadata = { ...meta("m"), labels: { "a8s.dev/abandoned": "true" } };
    expect(conversation(model([left]))[1]).toMatchObject({ abandoned: true });
  });
});
