// The page of a guest: one desktop, who holds it, and how long that lasts. It asks for nothing that a Share does not give.

import { api, ApiError } from "../api.ts";
import { h, icon, setText, visible } from "../dom.ts";
import { clock, shortUser } from "../format.ts";
import type { View } from "../main.ts";
import { audience, clipboardRule, control, emptyModel } from "../model.ts";
import { acting } from "../toast.ts";
import { condition, isTrue, type Invitation } from "../types.ts";
import { Desktop } from "./desktop.ts";
import { topBar, type Shell } from "./shell.ts";

/** A guest may not watch objects, only get them. */
const LOOK_MS = 2_000;

export class SharedView implements View {
  readonly element: HTMLElement;
  private readonly facts = h("span", { class: "facts", testid: "shared-facts" });
  private readonly holder = h("span", { class: "holder", testid: "control", "aria-live": "polite" });
  private readonly trouble = h("p", { class: "trouble", role: "alert", testid: "trouble" });
  private readonly place = h("main", { class: "alone" });
  private readonly take: HTMLButtonElement = h("button", { class: "primary", type: "button", testid: "take-over", on: () => void acting(this.take, () => this.hold("User")) }, icon("hand"), h("span", {}, "Take over"));
  private readonly hand: HTMLButtonElement = h("button", { class: "primary", type: "button", testid: "hand-back", on: () => void acting(this.hand, () => this.hold("Agent")) }, icon("back"), h("span", {}, "Hand back"));
  private desktop: Desktop | undefined;
  private closed = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly wake = (): void => {
    if (!document.hidden) void this.look();
  };

  constructor(
    private readonly shell: Shell,
    private readonly namespace: string,
    private readonly name: string,
  ) {
    for (const element of [this.trouble, this.take, this.hand]) visible(element, false);
    this.element = h("div", { class: "page session shared", testid: "shared" }, topBar(shell, namespace),
      h("div", { class: "head" },
        h("div", { class: "name" }, h("h1", {}, "Shared desktop"), this.facts), h("span", { class: "grow" }),
        h("div", { class: "actions", role: "toolbar", "aria-label": "Actions" }, this.take, this.hand)),
      this.trouble, this.place);
    document.addEventListener("visibilitychange", this.wake);
    void this.look();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.wake);
    this.desktop?.close();
  }

  private async hold(holder: "Agent" | "User"): Promise<void> {
    await api.holdShared(this.namespace, this.name, { holder, private: false });
    await this.look();
  }

  private async look(): Promise<void> {
    clearTimeout(this.timer);
    try {
      const found = await api.invitation(this.namespace, this.name);
      if (!this.closed) this.draw(found);
    } catch (error) {
      if (this.closed) return;
      if (error instanceof ApiError && error.status === 401) {
        this.shell.signedOut();
        return;
      }
      this.refuse(error);
    }
    // A page that nobody looks at asks nothing; it asks when somebody comes back.
    clearTimeout(this.timer);
    if (!this.closed && !document.hidden) this.timer = setTimeout(() => void this.look(), LOOK_MS);
  }

  private refuse(error: unknown): void {
    const gone = error instanceof ApiError && (error.status === 403 || error.status === 404);
    const text = gone ? `You are not invited to this desktop, or not any more. Ask whoever sent you the link. You are signed in as ${this.shell.me.user}.` : error instanceof Error ? error.message : String(error);
    setText(this.trouble, text);
    visible(this.trouble, true);
    if (!gone) return;
    for (const element of [this.take, this.hand]) visible(element, false);
    setText(this.facts, "");
    // With the last picture: it is not for these eyes any more.
    this.desktop?.close();
    this.desktop?.element.remove();
    this.desktop = undefined;
  }

  private draw({ share, workspace }: Invitation): void {
    const shared = isTrue(share, "Ready") && workspace !== null;
    const running = shared && workspace.status?.state === "Running";
    const may = share.spec.role === "Control" && !this.shell.me.readOnly;
    if (this.desktop === undefined) {
      this.desktop = new Desktop(this.namespace, !may, this.holder);
      this.place.append(this.desktop.element);
    }
    visible(this.trouble, false);
    const model = { ...emptyModel(), workspace: workspace ?? undefined };
    const [held, there] = [control(model, this.shell.me.user), running ? audience(model) : []];
    const mine = held.mine && running;
    setText(this.facts, [may ? "You may watch and control" : "You may watch", `until ${clock(share.spec.expires ?? "", Date.now())}`, running && there.length === 0 ? watchers(workspace.status?.viewers) : ""].filter(Boolean).join(" · "));
    setText(this.holder, !running ? "Desktop" : mine ? "You have control" : held.holder === "User" ? `${shortUser(held.user)} has control${held.private ? ", in private" : ""}` : held.pending ? "Handing over…" : "The agent has control");
    this.holder.classList.toggle("mine", mine);
    visible(this.take, may && running && !mine);
    visible(this.hand, may && mine);
    const why = !shared ? (condition(share, "Ready")?.message ?? "Starting") : (condition(workspace, "Ready")?.message ?? "") || "The desktop does not run";
    this.desktop.update({ workspace: workspace?.metadata.name, running, why, mine, audience: there, clipboard: clipboardRule(model) });
  }
}

/** For a desktop that says how many watch, and not who. */
function watchers(viewers: number | undefined): string {
  if (viewers === undefined || viewers === 0) return "";
  return viewers === 1 ? "1 person watches" : `${viewers} people watch`;
}
