// @vitest-environment jsdom
// A read-only console shows everything and offers nothing: no control of the page does more than look, even for somebody whose rights
// would allow it and who holds control at the moment.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Shell } from "../src/view/shell.ts";
import { meta, message, request } from "./objects.ts";

vi.mock("@novnc/novnc", () => ({ default: class extends EventTarget { disconnect(): void { /* never connected */ } focus(): void { /* nothing */ } blur(): void { /* nothing */ } } }));

const { SessionView } = await import("../src/view/session.ts");
const { SessionsView } = await import("../src/view/sessions.ts");

const ready = { type: "Ready", status: "True", reason: "Ready", message: "" };
const limited = { type: "Limited", status: "True", reason: "LimitReached", message: "the limit of turns is reached" };
const session = { metadata: meta("s"), spec: { goal: "Do it.", limits: { turns: 3 } }, status: { state: "Working", turn: 1, conditions: [ready, limited] } };
const detail = {
  session,
  workspace: {
    metadata: meta("s"),
    spec: { control: { holder: "User", user: "jane", private: false } },
    status: { state: "Running", control: { holder: "User", user: "jane", private: false, epoch: 1 } },
  },
  messages: [message("m", "User", "hello", { state: "Delivered", seq: 1 })],
  requests: [
    request("act", { type: "Permission", options: [{ id: "y", kind: "AllowOnce" }] }),
    request("fill", { type: "Question", form: [{ name: "year" }, { name: "sure", type: "Boolean" }, { name: "unit", type: "Choice", options: ["mm"] }] }),
    request("login", { type: "Takeover" }),
    request("begin", { type: "Handoff", handoff: { requirement: "Do it." } }),
  ],
  artifacts: [{ metadata: meta("s-recording-turn-1-v1"), spec: { session: "s", name: "recording-turn-1", version: 1, title: "Desktop, turn 1", fileName: "recording-turn-1.tar", mediaType: "application/vnd.a8s.recording+tar", size: 9, turn: 1 }, status: { conditions: [ready] } }],
  snapshots: [{ metadata: meta("before"), spec: { workspace: "s" }, status: { conditions: [ready] } }],
};

/** What somebody who only looks may press: the way out, what is shown and how, what was recorded, and another attempt to connect. */
const HARMLESS = ["logout", "view-chat", "view-desktop", "quality", "fit", "pan", "fullscreen", "reconnect", "play-recording-turn-1"];

function shell(readOnly: boolean): Shell {
  return { me: { user: "jane", readOnly, namespace: "team" }, signedOut: () => undefined, leave: () => undefined };
}

/** Everything that can be pressed, written into or ticked, shown or not. */
function controls(element: HTMLElement): string[] {
  const found = [...element.querySelectorAll<HTMLElement>("button, input, textarea, select, [contenteditable]")];
  return found.map((e) => e.dataset.testid ?? e.getAttribute("aria-label") ?? e.outerHTML);
}

/** What the page sent besides questions. */
let asked: { url: string; body: unknown }[] = [];

beforeEach(() => {
  asked = [];
  vi.stubGlobal("EventSource", class { addEventListener(): void { /* nothing comes */ } close(): void { /* nothing to close */ } });
  vi.stubGlobal("WebSocket", class extends EventTarget { close(): void { /* nothing to close */ } });
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => { draw(); return 0; });
  vi.stubGlobal("cancelAnimationFrame", () => undefined);
  vi.stubGlobal("fetch", vi.fn((url: string, init?: { body?: string }) => { if (init?.body !== undefined) asked.push({ url, body: JSON.parse(init.body) as unknown }); return Promise.resolve(new Response(JSON.stringify(
    url.includes("/sessions/s") ? detail : url.includes("/vnc/ticket") ? { ticket: "t", expiresIn: 30 } : { items: [session] },
  ), { status: 200, headers: { "content-type": "application/json" } })); }));
});
afterEach(() => vi.unstubAllGlobals());

describe("a read-only console", () => {
  it("has no action on a session's page, not even for whoever holds control", async () => {
    const view = new SessionView(shell(true), "team", "s");
    await vi.waitFor(() => expect(view.element.textContent).toContain("before"));
    expect(view.element.textContent).toContain("read-only");
    for (const asked of ["May I act?", "May I fill?", "May I login?", "May I begin?", "waits for a person", "the limit of turns is reached"]) expect(view.element.textContent).toContain(asked);
    expect(controls(view.element).filter((name) => !HARMLESS.includes(name))).toEqual([]);
    view.close();
  });

  it("has no action in the list of sessions", async () => {
    const view = new SessionsView(shell(true), "team");
    await vi.waitFor(() => expect(view.element.textContent).toContain("Working"));
    expect(controls(view.element).filter((name) => !HARMLESS.includes(name))).toEqual(["namespace"]);
    view.close();
  });

  it("asks for tickets to view only", async () => {
    const view = new SessionView(shell(true), "team", "s");
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0));
    expect(asked).toEqual([{ url: "/vnc/ticket", body: { namespace: "team", workspace: "s", mode: "view" } }]);
    view.close();
  });
});

describe("any other console", () => {
  it("has the actions that a read-only one lacks", async () => {
    const view = new SessionView(shell(false), "team", "s");
    await vi.waitFor(() => expect(view.element.textContent).toContain("before"));
    const there = controls(view.element);
    for (const name of ["stop", "take-over", "hand-back", "private", "save", "suspend", "resume", "fork-before", "option-y", "input-year", "input-sure", "input-unit", "request-hand-back", "option-deny", "option-allow", "request-note", "asks", "raise", "limit-turns", "toggle-input", "toggle-keys", "clipboard", "paste", "key-escape"]) expect(there).toContain(name);
    view.close();
    const list = new SessionsView(shell(false), "team");
    await vi.waitFor(() => expect(list.element.textContent).toContain("Working"));
    expect(controls(list.element)).toEqual(expect.arrayContaining(["new-session", "delete-s"]));
    list.close();
  });
});

describe("a session whose desktop was deleted", () => {
  it("says so where the desktop was, and what to do", async () => {
    const text = "The desktop was deleted; the next Message starts a new, empty one.";
    const gone = { ...session, status: { state: "Waiting", conditions: [{ ...ready, status: "False", reason: "WorkspaceDeleted", message: text }] } };
    vi.mocked(fetch).mockImplementation(() => Promise.resolve(new Response(JSON.stringify({ ...detail, session: gone, workspace: null }), { status: 200, headers: { "content-type": "application/json" } })));
    const view = new SessionView(shell(false), "team", "s");
    await vi.waitFor(() => expect(view.element.querySelector("[data-testid=desktop-notice]")?.textContent).toContain(text));
    view.close();
  });
});
