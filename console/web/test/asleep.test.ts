// @vitest-environment jsdom
// A desktop that nobody used sleeps. Whoever opens its page wakes it, once; after that there is a button.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isAsleep, stateWord } from "../src/model.ts";
import type { Session, Workspace } from "../src/types.ts";
import type { Shell } from "../src/view/shell.ts";
import { meta } from "./objects.ts";

vi.mock("@novnc/novnc", () => ({ default: class extends EventTarget { disconnect(): void { /* never connected */ } } }));

const { SessionView } = await import("../src/view/session.ts");

const idle = { type: "Ready", status: "False" as const, reason: "Idle", message: "Nobody has used it." };
const session: Session = { metadata: meta("s"), spec: { goal: "Do it." }, status: { state: "Suspended", doing: "asleep since 12:04 UTC; a message wakes it", conditions: [idle] } };
const workspace = (state: string, spec: Workspace["spec"] = { environment: "desktop" }): Workspace => ({
  metadata: meta("s"), spec, status: { state, idleSince: "2026-01-01T12:00:00Z", suspendedSince: "2026-01-01T12:04:00Z", conditions: [idle] },
});
let found: Workspace = workspace("Suspended");
let wakes = 0;

function shell(readOnly: boolean): Shell {
  return { me: { user: "jane", readOnly, namespace: "team" }, signedOut: () => undefined, leave: () => undefined };
}

async function open(readOnly: boolean): Promise<{ element: HTMLElement; close: () => void }> {
  const view = new SessionView(shell(readOnly), "team", "s");
  await vi.waitFor(() => expect(view.element.textContent).toContain("a message wakes it"));
  return view;
}

beforeEach(() => {
  wakes = 0;
  found = workspace("Suspended");
  vi.stubGlobal("EventSource", class { addEventListener(): void { /* nothing comes */ } close(): void { /* nothing to close */ } });
  vi.stubGlobal("requestAnimationFrame", (draw: () => void) => { draw(); return 0; });
  vi.stubGlobal("cancelAnimationFrame", () => undefined);
  vi.stubGlobal("fetch", vi.fn((url: string) => {
    if (url.endsWith("/wake")) wakes += 1;
    const detail = { session, workspace: found, messages: [], artifacts: [], snapshots: [] };
    return Promise.resolve(new Response(JSON.stringify(detail), { status: 200, headers: { "content-type": "application/json" } }));
  }));
});
afterEach(() => vi.unstubAllGlobals());

describe("a desktop that is asleep", () => {
  it("is told from one that a person suspended", () => {
    expect(stateWord(session)).toBe("Asleep");
    expect(stateWord({ ...session, status: { state: "Suspended", conditions: [{ ...idle, reason: "Suspended" }] } })).toBe("Suspended");
    expect(stateWord({ ...session, status: { ...session.status, state: "Finished" } })).toBe("Finished");
    expect(isAsleep(workspace("Suspended"))).toBe(true);
    expect(isAsleep(workspace("Suspended", { environment: "desktop", state: "Suspended" }))).toBe(false);
    expect(isAsleep(undefined)).toBe(false);
  });

  it("is woken by whoever opens its page, once, and by the button", async () => {
    const view = await open(false);
    expect(wakes).toBe(1);
    const button = view.element.querySelector<HTMLButtonElement>("[data-testid=wake]");
    expect(button?.hidden).toBe(false);
    expect(view.element.querySelector<HTMLElement>("[data-testid=resume]")?.hidden).toBe(true);
    button?.click();
    await vi.waitFor(() => expect(wakes).toBe(2));
    view.close();
  });

  it("is not fetched back from an archive unless somebody says so", async () => {
    found = workspace("Archived");
    const view = await open(false);
    expect(wakes).toBe(0);
    expect(view.element.textContent).toContain("a Snapshot is kept");
    view.close();
  });

  it("sleeps on when a read-only console looks at it", async () => {
    const view = await open(true);
    expect(wakes).toBe(0);
    expect(view.element.querySelector("[data-testid=wake]")).toBeNull();
    view.close();
  });
});
