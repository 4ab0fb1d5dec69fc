// @vitest-environment jsdom
// The page of a Session that is not there says so, instead of waiting for it.

import { afterEach, expect, it, vi } from "vitest";

vi.mock("@novnc/novnc", () => ({ default: class extends EventTarget { disconnect(): void { /* never connected */ } } }));

const { SessionView } = await import("../src/view/session.ts");

afterEach(() => vi.unstubAllGlobals());

it("the page of a session that was deleted says that it is gone and offers nothing to do with it", async () => {
  vi.stubGlobal("EventSource", class { addEventListener(): void { /* nothing comes */ } close(): void { /* nothing to close */ } });
  vi.stubGlobal("cancelAnimationFrame", () => undefined);
  const answer = { error: 'sessions.a8s.dev "s" not found', reason: "NotFound" };
  vi.stubGlobal("fetch", vi.fn(() => Promise.resolve(new Response(JSON.stringify(answer), { status: 404, headers: { "content-type": "application/json" } }))));
  const view = new SessionView({ me: { user: "jane", readOnly: false, namespace: "team" }, signedOut: () => undefined, leave: () => undefined }, "team", "s");
  const at = (id: string): HTMLElement => view.element.querySelector<HTMLElement>(`[data-testid="${id}"]`) ?? expect.fail(`no ${id}`);
  await vi.waitFor(() => expect(at("state").textContent).toBe("Gone"));
  expect(view.element.textContent).toContain("There is no session of this name");
  for (const id of ["offline", "stop", "take-over", "save", "suspend", "wake", "resume"]) expect(at(id).hidden, id).toBe(true);
  view.close();
});
