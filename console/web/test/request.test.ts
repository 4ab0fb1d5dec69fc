// @vitest-environment jsdom
// What the agent asks: where it stands in the conversation, what a person can answer, and what is sent.

import { beforeEach, describe, expect, it, vi } from "vitest";
import { conversation, type Hands } from "../src/conversation.ts";
import { applyChange, applyEvent, emptyModel, isChatting, reset, waiting, type Model } from "../src/model.ts";
import type { Decision, Request } from "../src/types.ts";
import { Chat } from "../src/view/chat.ts";
import { hours, LimitBanner, usageLine } from "../src/view/limits.ts";
import { card } from "../src/view/request.ts";
import { event, message, meta, model, request, session } from "./objects.ts";

const IDLE: Hands = { mine: false, ready: true, files: ["figures.csv"] };
let sent: [string, Decision | string][] = [];
const deciding = {
  decide: (name: string, decision: Decision): Promise<void> => { sent.push([name, decision]); return Promise.resolve(); },
  hold: (holder: string): Promise<void> => { sent.push(["control", holder]); return Promise.resolve(); },
};

function press(element: HTMLElement, testid: string): void {
  const found = element.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
  if (!found) throw new Error(`there is no ${testid} in: ${element.textContent}`);
  found.click();
}

function write(element: HTMLElement, testid: string, value: string): void {
  const found = element.querySelector<HTMLInputElement>(`[data-testid="${testid}"]`);
  if (!found) throw new Error(`there is no ${testid}`);
  if (found.type === "checkbox") found.checked = value === "true";
  else found.value = value;
}

beforeEach(() => (sent = []));

const withRequests = (start: Model, ...all: Request[]): Model => all.reduce((held, object) => applyChange(held, { type: "Applied", kind: "Request", object }), start);

describe("a request in the conversation", () => {
  it("stands where it was asked", () => {
    let live = [
      event(1, { type: "turnStarted", data: { messageId: "goal", content: "", author: "" } }),
      event(2, { type: "step", data: { id: "a", title: "before", status: "completed" } }),
      event(4, { type: "step", data: { id: "b", title: "after", status: "completed" } }),
    ].reduce(applyEvent, model([message("s-0-5", "Agent", "done", { seq: 2, state: "Consumed", at: "2026-01-01T00:00:05Z" })]));
    live = withRequests(live, request("s-0-3", { type: "Permission", id: "0-3", options: [{ id: "y", kind: "AllowOnce" }] }));
    expect(conversation(live).map((e) => (e.kind === "request" ? e.request.metadata.name : e.kind))).toEqual(["message", "steps", "s-0-3", "steps", "message", "typing"]);
  });

  it("comes between what was said before and after, while there is no agent yet", () => {
    const said = (name: string, seq: number, at: string): ReturnType<typeof message> => message(name, seq % 2 ? "User" : "Agent", name, { seq, state: "Consumed", at });
    const talk = reset(emptyModel(), {
      session: { metadata: meta("s"), spec: {}, status: { state: "Chatting" } }, workspace: null, artifacts: [], snapshots: [],
      messages: [said("one", 1, "2026-01-01T00:00:01Z"), said("two", 2, "2026-01-01T00:00:02Z"), said("three", 3, "2026-01-01T00:01:00Z")],
      requests: [{ ...request("handoff", { type: "Handoff", handoff: { requirement: "x" } }), metadata: { ...meta("handoff"), creationTimestamp: "2026-01-01T00:00:10Z" } }],
    });
    expect(conversation(talk).map((e) => (e.kind === "request" ? "handoff" : e.kind === "message" ? e.text : e.kind))).toEqual(["one", "two", "handoff", "three"]);
    expect(isChatting(talk)).toBe(true);
    expect(waiting(talk).map((r) => r.metadata.name)).toEqual(["handoff"]);
  });

  it("keeps what is being filled in when something else changes", () => {
    const chat = new Chat(deciding);
    const ask = request("ask", { type: "Question", id: "0-2", form: [{ name: "year" }] });
    let held = withRequests(model(), ask);
    chat.update(conversation(held), [], true);
    write(chat.element, "input-year", "2014");
    const again = { ...ask, metadata: { ...ask.metadata, resourceVersion: "9" }, status: { ...ask.status, conditions: [] } } as Request;
    held = withRequests(held, again);
    held = applyEvent(held, event(7, { type: "notice", data: { text: "hello" } }));
    chat.update(conversation(held, { mine: true, ready: true }), [], true);
    expect(chat.element.textContent).toContain("hello");
    expect(chat.element.querySelector<HTMLTextAreaElement>("[data-testid=input-year]")?.value).toBe("2014");
  });
});

describe("a card", () => {
  it("offers the options of a permission and sends the chosen one with a word", () => {
    const ask = request("act", { type: "Permission", options: [{ id: "once", title: "Allow once", kind: "AllowOnce" }, { id: "never", title: "Never", kind: "RejectAlways" }] });
    const element = card(ask, IDLE, deciding);
    write(element, "request-note", " be careful ");
    press(element, "option-once");
    press(card(ask, IDLE, deciding), "option-never");
    expect(sent).toEqual([["act", { option: "once", note: "be careful" }], ["act", { option: "never" }]]);
  });

  it("sends a form only once it is filled in, and a refusal at any time", () => {
    const ask = request("fill", { type: "Question", form: [
      { name: "unit", type: "Choice", options: ["mm", "inch"] }, { name: "sure", type: "Boolean" }, { name: "digits", type: "Number", optional: true }, { name: "file", type: "File" }] });
    const element = card(ask, IDLE, deciding);
    press(element, "option-allow");
    expect(sent).toEqual([]);
    write(element, "input-unit", "inch");
    press(element, "option-allow");
    expect(sent).toEqual([]);
    write(element, "input-file", "figures.csv");
    write(element, "input-sure", "true");
    press(element, "option-allow");
    expect(sent).toEqual([["fill", { option: "allow", values: { unit: "inch", sure: "true", file: "figures.csv" } }]]);
    press(card(ask, IDLE, deciding), "option-deny");
    expect(sent[1]).toEqual(["fill", { option: "deny" }]);
  });

  it("wants words for a question without a form", () => {
    const element = card(request("why", { type: "Question" }), IDLE, deciding);
    press(element, "option-allow");
    expect(sent).toEqual([]);
    write(element, "request-note", "Because.");
    press(element, "option-allow");
    expect(sent).toEqual([["why", { option: "allow", note: "Because." }]]);
  });

  it("of a takeover gives and takes control, and lets a person decline", () => {
    const ask = request("login", { type: "Takeover" });
    press(card(ask, IDLE, deciding), "request-take-over");
    press(card(ask, { ...IDLE, mine: true }, deciding), "request-hand-back");
    press(card(ask, IDLE, deciding), "option-deny");
    expect(sent).toEqual([["control", "User"], ["control", "Agent"], ["login", { option: "deny" }]]);
    expect(card(ask, { ...IDLE, ready: false }, deciding).querySelector("[data-testid=request-take-over]")).toBeNull();
  });

  it("of a handoff shows the requirement, asks for what is missing, and confirms", () => {
    const ask = request("begin", { type: "Handoff", form: [{ name: "quarter", type: "Choice", options: ["Q2", "Q3"] }],
      handoff: { requirement: "Fill the **portal**.", environment: "office", inputs: { quarter: "Q3" }, tools: ["computer"], connections: ["portal"] } });
    const element = card(ask, IDLE, deciding);
    for (const word of ["portal", "office", "computer", "Q3"]) expect(element.textContent).toContain(word);
    expect(element.querySelector("strong")).not.toBeNull();
    press(element, "option-allow");
    expect(sent).toEqual([["begin", { option: "allow", values: { quarter: "Q3" } }]]);
  });

  it("says who decided what, and offers nothing any more", () => {
    const decided = request("act", { type: "Credential", subject: "portal" }, { state: "Granted", decision: { option: "allow", by: "system:serviceaccount:team:jane", note: "only today" } });
    const element = card(decided, IDLE, deciding);
    expect(element.querySelector("[data-testid=verdict]")?.textContent).toBe("Grantedjane: Allow · only today");
    expect(element.querySelectorAll("button, input, textarea, select").length).toBe(0);
    const sentOnly = card(request("act", { type: "Tool" }, { state: "Open", decision: { option: "deny" } }), IDLE, deciding);
    expect(sentOnly.querySelector("[data-testid=verdict]")?.textContent).toBe("SentDeny");
    const expired = card(request("act", { type: "Tool" }, { state: "Expired", outcome: "nobody answered in time" }), IDLE, deciding);
    expect(expired.textContent).toContain("nobody answered in time");
  });

  it("shows text of others as text", () => {
    const element = card(request("act", { type: "Tool", subject: "<img src=x onerror=alert(1)>", detail: "<script>alert(1)</script>\n\n**bold**" }), IDLE, deciding);
    expect(element.querySelectorAll("script, img").length).toBe(0);
    expect(element.querySelector(".body strong")?.textContent).toBe("bold");
  });
});

describe("usage and limits", () => {
  it("are one line, without what is not known", () => {
    expect(usageLine({ requests: 41, inputTokens: 1_204_000, outputTokens: 9_800, cost: "1.27", activeSeconds: 432 })).toBe("41 model calls · 1.2M tokens · $1.27 · 7m of work");
    expect(usageLine({ requests: 1, inputTokens: 400, outputTokens: 12, activeSeconds: 0 })).toBe("1 model call · 412 tokens");
    expect(usageLine(undefined)).toBe("");
    expect([hours("4h"), hours("1d30m"), hours("90s"), hours(""), hours(undefined), hours("soon")]).toEqual([4, 24.5, 0.025, undefined, undefined, undefined]);
  });

  it("a limit that is reached can be raised, and only what was changed is sent", async () => {
    const limits: unknown[] = [];
    const banner = new LimitBanner((wanted) => { limits.push(wanted); return Promise.resolve(); });
    expect(banner.element.hidden).toBe(true);
    const limited = session({ conditions: [{ type: "Limited", status: "True", reason: "LimitReached", message: "the limit of tokens is reached: kubectl patch session s" }] });
    limited.spec.limits = { tokens: 1000, activeDuration: "1h" };
    banner.update(limited);
    expect(banner.element.hidden).toBe(false);
    expect(banner.element.textContent).toContain("the limit of tokens is reached");
    expect(banner.element.textContent).not.toContain("kubectl");
    write(banner.element, "limit-activeDuration", "1");
    banner.update(limited);
    banner.element.querySelector("form")?.dispatchEvent(new Event("submit", { cancelable: true }));
    await vi.waitFor(() => expect(limits).toEqual([{ tokens: 2000 }]));
  });
});
