// @vitest-environment jsdom
// The list of Sessions, where it is empty.

import { afterEach, expect, it, vi } from "vitest";
import { SessionsView } from "../src/view/sessions.ts";
import type { Shell } from "../src/view/shell.ts";

const shell = { me: { user: "jane", readOnly: false, namespace: "team" }, signedOut: vi.fn(), leave: vi.fn() } as unknown as Shell;
afterEach(() => vi.unstubAllGlobals());

it.each([
  [200, { items: [] }, "No session yet"],
  [403, { error: "jane cannot list sessions", reason: "Forbidden" }, "You may not see the sessions of other"],
])("says why nothing is there, whether nobody began or it may not be seen (%i)", async (status, body, words) => {
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(JSON.stringify(body), { status })));
  const view = new SessionsView(shell, "other");
  await vi.waitFor(() => expect(view.element.textContent).toContain(words));
  view.close();
});
