// @vitest-environment jsdom
// Sharing a desktop: whom the dialog invites and revokes, and what a guest's page shows and asks for.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseRoute } from "../src/route.ts";
import type { Invitation, Share } from "../src/types.ts";
import type { Shell } from "../src/view/shell.ts";
import { meta } from "./objects.ts";

vi.mock("@novnc/novnc", () => ({ default: class extends EventTarget { disconnect(): void { /* never connected */ } focus(): void { /* nothing */ } blur(): void { /* nothing */ } } }));

const { shareDialog, subjects } = await import("../src/view/share.ts");
const { SharedView } = await import("../src/view/shared.ts");

const ready = { type: "Ready", status: "True" as const, reason: "Shared", message: "" };
const share = (name: string, role: Share["spec"]["role"], conditions = [ready]): Share => ({
  metadata: meta(name),
  spec: { session: "s", role, subjects: [{ kind: "User", name: "system:serviceaccount:team:omar" }], expires: "2099-01-01T00:00:00Z" },
  status: { workspace: "desk", conditions },
});
const workspace = (holder: "Agent" | "User", user?: string): NonNullable<Invitation["workspace"]> => ({
  metadata: meta("desk"),
  spec: { environment: "desktop", control: { holder, ...(user && { user }) } },
  status: { state: "Running", viewers: 2, control: { holder, ...(user && { user }), epoch: 1, audience: ["omar", "jane"] } },
});

let asked: { method: string; url: string; body: Record<string, unknown> }[] = [];
let answers: Record<string, { status: number; body: unknown }> = {};

beforeEach(() => {
  asked = [];
  answers = {};
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    asked.push({ method: init.method ?? "GET", url, body: typeof init.body === "string" ? (JSON.parse(init.body) as Record<string, unknown>) : {} });
    const { status, body } = answers[`${init.method} ${url}`] ?? answers[url] ?? { status: 200, body: {} };
    return Promise.resolve(new Response(JSON.stringify(body), { status }));
  });
  // jsdom has dialogs that do not open.
  HTMLDialogElement.prototype.showModal = function open(): void { this.open = true; };
  HTMLDialogElement.prototype.close = function close(): void { this.dispatchEvent(new Event("close")); };
});
afterEach(() => {
  document.querySelectorAll("dialog").forEach((one) => one.close());
  vi.unstubAllGlobals();
});

function part(within: ParentNode, testid: string): HTMLElement {
  const found = within.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
  if (!found) throw new Error(`there is no ${testid}`);
  return found;
}

function write(within: ParentNode, testid: string, value: string): void {
  (part(within, testid) as HTMLInputElement | HTMLSelectElement).value = value;
}

describe("the dialog", () => {
  it("invites whom it is told, for as long as it is told", async () => {
    answers["POST /api/namespaces/team/sessions/s/shares"] = { status: 201, body: share("s-x", "Control") };
    const dialog = shareDialog("team", "s");
    write(dialog, "share-kind", "Group");
    write(dialog, "share-who", "reviewers, designers");
    write(dialog, "share-role", "Control");
    expect(part(dialog, "share-lasts").querySelector("option:checked")?.textContent).toBe("24 hours");
    dialog.querySelector("form")?.dispatchEvent(new Event("submit", { cancelable: true }));
    await vi.waitFor(() => expect(asked.some((one) => one.method === "POST")).toBe(true));
    const body = asked.find((one) => one.method === "POST")?.body;
    expect(body).toMatchObject({ role: "Control", subjects: [{ kind: "Group", name: "reviewers" }, { kind: "Group", name: "designers" }] });
    const left = Date.parse(String(body?.expires)) - Date.now();
    expect(Math.round(left / 3_600_000)).toBe(24);
  });

  it("shows who was invited and takes it back", async () => {
    answers["/api/namespaces/team/sessions/s/shares"] = { status: 200, body: { items: [share("s-x", "Watch"), share("s-old", "Watch", [{ ...ready, status: "False" as never, reason: "Expired" }])] } };
    const dialog = shareDialog("team", "s");
    await vi.waitFor(() => part(dialog, "share-s-x"));
    expect(part(dialog, "share-s-x").textContent).toContain("omar");
    expect(part(dialog, "share-s-x").textContent).toContain("shared");
    expect(part(dialog, "share-s-old").textContent).toContain("over");
    part(dialog, "share-revoke-s-x").click();
    await vi.waitFor(() => expect(asked.some((one) => one.method === "DELETE" && one.url === "/api/namespaces/team/shares/s-x")).toBe(true));
  });

  it("says why there is no list", async () => {
    answers["/api/namespaces/team/sessions/s/shares"] = { status: 403, body: { error: "shares.a8s.dev is forbidden", reason: "Forbidden" } };
    const dialog = shareDialog("team", "s");
    await vi.waitFor(() => expect(part(dialog, "share-none").textContent).toContain("forbidden"));
  });

  it("takes each name once", () => {
    expect(subjects("User", " jane@example.com,  omar\njane@example.com ")).toEqual([{ kind: "User", name: "jane@example.com" }, { kind: "User", name: "omar" }]);
  });
});

describe("a guest's page", () => {
  const shell = (readOnly = false): Shell => ({ me: { user: "omar", readOnly, namespace: "other" }, signedOut: () => undefined, leave: () => undefined });
  const page = async (invitation: Invitation, readOnly = false): Promise<InstanceType<typeof SharedView>> => {
    answers["/api/namespaces/team/shares/s-x"] = { status: 200, body: invitation };
    const view = new SharedView(shell(readOnly), "team", "s-x");
    await vi.waitFor(() => expect(part(view.element, "shared-facts").textContent).not.toBe(""));
    return view;
  };

  it("has an address of its own", () => {
    expect(parseRoute("#/shared/team/s-x", "home")).toEqual({ namespace: "team", session: undefined, share: "s-x" });
    expect(parseRoute("#/shared/rain", "home")).toEqual({ namespace: "shared", session: "rain" });
  });

  it("shows who holds the desktop and lets one who may only watch do nothing", async () => {
    const view = await page({ share: share("s-x", "Watch"), workspace: workspace("User", "jane") });
    expect(part(view.element, "control").textContent).toBe("jane has control");
    expect(part(view.element, "audience").textContent).toContain("janeomar");
    expect(part(view.element, "take-over").hidden).toBe(true);
    await vi.waitFor(() => expect(asked.find((one) => one.url === "/vnc/ticket")?.body).toEqual({ namespace: "team", workspace: "desk", mode: "view" }));
    expect(asked.some((one) => one.url.includes("/sessions"))).toBe(false);
    view.close();
  });

  it("lets one who may control take the mouse and hand it back", async () => {
    const view = await page({ share: share("s-x", "Control"), workspace: workspace("Agent") });
    expect(part(view.element, "hand-back").hidden).toBe(true);
    answers["/api/namespaces/team/shares/s-x"] = { status: 200, body: { share: share("s-x", "Control"), workspace: workspace("User", "omar") } };
    part(view.element, "take-over").click();
    await vi.waitFor(() => expect(part(view.element, "control").textContent).toBe("You have control"));
    expect(asked.find((one) => one.method === "POST" && one.url.endsWith("/control"))).toMatchObject({ url: "/api/namespaces/team/shares/s-x/control", body: { holder: "User", private: false } });
    part(view.element, "hand-back").click();
    await vi.waitFor(() => expect(asked.filter((one) => one.url.endsWith("/control")).at(-1)?.body).toEqual({ holder: "Agent", private: false }));
    view.close();
  });

  it("offers nothing in a read-only console", async () => {
    const view = await page({ share: share("s-x", "Control"), workspace: workspace("Agent") }, true);
    expect(part(view.element, "take-over").hidden && part(view.element, "hand-back").hidden).toBe(true);
    view.close();
  });

  it("says that it is over", async () => {
    const view = await page({ share: share("s-x", "Watch", [{ ...ready, status: "False" as never, reason: "Expired", message: "it ended at 10:00" }]), workspace: null });
    expect(part(view.element, "desktop-notice").textContent).toContain("it ended at 10:00");
    answers["/api/namespaces/team/shares/s-x"] = { status: 403, body: { error: "forbidden", reason: "Forbidden" } };
    document.dispatchEvent(new Event("visibilitychange"));
    await vi.waitFor(() => expect(part(view.element, "trouble").textContent).toContain("You are not invited to this desktop, or not any more. Ask whoever sent you the link. You are signed in as omar"));
    view.close();
  });
});
