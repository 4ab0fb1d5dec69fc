// One Session: conversation on the left, live desktop on the right, results below.

import { api } from "../api.ts";
import { conversation } from "../conversation.ts";
import { h, icon, setText, visible } from "../dom.ts";
import { shortUser, tone } from "../format.ts";
import { Feed } from "../feed.ts";
import type { View } from "../main.ts";
import { audience, clipboardRule, control, currentTurn, isAsleep, isChatting, isRunning, plan, stateWord, waiting, type Model } from "../model.ts";
import { hashFor } from "../route.ts";
import { acting, complain, toast } from "../toast.ts";
import { condition, isTrue, type Session } from "../types.ts";
import { Chat } from "./chat.ts";
import { Composer } from "./composer.ts";
import { Desktop } from "./desktop.ts";
import { LimitBanner, usageLine } from "./limits.ts";
import { Results } from "./results.ts";
import { shareDialog } from "./share.ts";
import { topBar, type Shell } from "./shell.ts";

/** Ages on the page move on even if nothing happens. */
const TICK_MS = 15_000;

export class SessionView implements View {
  readonly element: HTMLElement;
  private readonly feed: Feed;
  private readonly chat: Chat;
  private readonly limits: LimitBanner;
  private readonly composer: Composer;
  private readonly desktop: Desktop;
  private readonly results: Results;
  private readonly state = h("span", { class: "badge calm", testid: "state" }, "Loading");
  private readonly doing = h("span", { class: "doing", testid: "doing", "aria-live": "polite" });
  private readonly facts = h("span", { class: "facts", testid: "facts" });
  private readonly usage = h("span", { class: "facts usage", testid: "usage" });
  private readonly asks = h("button", { class: "asks-you small", type: "button", testid: "asks", on: () => this.seek() });
  /** Where there is room for one of the two only. */
  private readonly chatView = h("button", { type: "button", testid: "view-chat", on: () => this.turnTo("chat") }, icon("chat"), "Chat");
  private readonly desktopView = h("button", { type: "button", testid: "view-desktop", on: () => this.turnTo("desktop") }, icon("screen"), "Desktop");
  private readonly trouble = h("p", { class: "trouble", role: "alert", testid: "trouble" });
  private readonly holder = h("span", { class: "holder", testid: "control", "aria-live": "polite" });
  private readonly offline = h("span", { class: "badge bad", testid: "offline" }, "offline");
  private readonly private = h("input", { type: "checkbox", testid: "private", on: () => void this.privacy() });
  private readonly privateLabel = h("label", { class: "check", title: "The agent sees nothing while you work" }, this.private, "private");
  private readonly stop = this.button("stop", "Stop", "stop", "danger", () => this.interrupt());
  private readonly take = this.button("take-over", "Take over", "hand", "primary", () => this.hold("User"));
  private readonly hand = this.button("hand-back", "Hand back", "back", "primary", () => this.hold("Agent"));
  private readonly save = this.button("save", "Save", "save", "", () => this.snapshot());
  private readonly share = h("button", { type: "button", testid: "share", on: () => shareDialog(this.namespace, this.name) }, icon("share"), h("span", {}, "Share"));
  private readonly suspend = this.button("suspend", "Suspend", "pause", "", () => api.state(this.namespace, this.name, "Suspended"));
  private readonly resume = this.button("resume", "Resume", "play", "primary", () => api.state(this.namespace, this.name, "Active"));
  private readonly wake = this.button("wake", "Wake", "play", "primary", () => api.wake(this.namespace, this.name));
  /** Whoever opens the page wants to see the desktop; one that falls asleep while the page is open is woken by hand. */
  private opened = false;
  private missing = false;
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(
    private readonly shell: Shell,
    private readonly namespace: string,
    private readonly name: string,
  ) {
    const may = !shell.me.readOnly;
    this.chat = new Chat(may ? {
      decide: (request, decision) => api.decide(namespace, name, request, decision),
      hold: (holder) => this.hold(holder),
    } : undefined);
    this.limits = new LimitBanner(may ? (limits) => api.limits(namespace, name, limits) : undefined);
    this.composer = new Composer((content, delivery) => this.say(content, delivery));
    this.desktop = new Desktop(namespace, shell.me.readOnly, this.holder);
    this.results = new Results(namespace, shell.me.readOnly);
    visible(this.offline, false);
    visible(this.trouble, false);
    const actions = h("div", { class: "actions", role: "toolbar", "aria-label": "Actions" },
      this.stop, this.take, this.hand, this.privateLabel, this.share, this.save, this.suspend, this.resume, this.wake);
    this.element = h("div", { class: "page session" }, topBar(shell, namespace),
      h("div", { class: "head" },
        h("a", { class: "ghost button", href: hashFor(namespace), "aria-label": "Back to all sessions", testid: "back" }, icon("arrow")),
        h("div", { class: "name" }, h("h1", {}, name), this.facts, this.usage), this.state, this.offline, may && this.asks, this.doing, h("span", { class: "grow" }), may && actions),
      this.trouble, this.limits.element,
      h("div", { class: "views", role: "group", "aria-label": "What is shown" }, this.chatView, this.desktopView),
      h("main", { class: "work" },
        h("section", { class: "left", "aria-label": "Chat" }, this.chat.element, may && this.composer.element),
        h("section", { class: "right", "aria-label": "Desktop" }, this.desktop.element, this.results.element)));
    this.turnTo("chat");
    this.composer.update(false, false, false);
    this.feed = new Feed(namespace, name, {
      changed: (model) => this.draw(model),
      online: (yes) => visible(this.offline, !yes && !this.missing),
      failed: complain,
      missing: () => {
        this.missing = true;
        visible(this.offline, false);
        this.draw(this.feed.model);
      },
      signedOut: shell.signedOut,
    });
    this.timer = setInterval(() => this.draw(this.feed.model), TICK_MS);
    this.draw(this.feed.model);
  }

  close(): void {
    clearInterval(this.timer);
    this.feed.close();
    this.desktop.close();
  }

  private button(testid: string, label: string, picture: Parameters<typeof icon>[0], look: string, work: () => Promise<void>): HTMLButtonElement {
    const element: HTMLButtonElement = h("button", { class: look, type: "button", testid, on: () => void acting(element, work) }, icon(picture), h("span", {}, label));
    return element;
  }

  private draw(model: Model): void {
    const { session, workspace } = model;
    const status = session?.status;
    if (session !== undefined) this.missing = false;
    const word = session === undefined ? (this.missing || this.loaded(model) ? "Gone" : "Loading") : stateWord(session);
    const running = isRunning(model);
    const held = control(model, this.shell.me.user);
    const desktopUp = workspace?.status?.state === "Running";
    const over = word === "Terminated" || word === "Gone" || word === "Deleting";
    const suspended = session?.spec.state === "Suspended" || session?.spec.state === "Archived";
    const asleep = isAsleep(workspace) && !suspended && !over;
    this.open(workspace !== undefined, asleep && workspace?.status?.state !== "Archived");

    this.state.className = `badge ${tone(word)}`;
    setText(this.state, word);
    setText(this.doing, status?.doing ?? "");
    this.doing.title = status?.doing ?? "";
    const turn = currentTurn(model);
    setText(this.facts, [status?.environment ?? session?.spec.environment, turn > 0 ? `turn ${turn}` : "", status?.queued ? `${status.queued} queued` : "", workspace?.status?.startup?.total ? `started in ${workspace.status.startup.total}` : ""].filter(Boolean).join(" · "));
    this.facts.title = (status?.rationale ?? []).join("\n");
    const used = usageLine(status?.usage);
    setText(this.usage, used);
    visible(this.usage, used !== "");
    this.limits.update(session);
    const open = waiting(model).length;
    visible(this.asks, open > 0);
    setText(this.asks, open === 1 ? "1 request waits for you" : `${open} requests wait for you`);
    this.worry(session);

    visible(this.stop, running && !over);
    visible(this.take, desktopUp && !held.mine && !over);
    visible(this.hand, desktopUp && held.mine && !over);
    visible(this.privateLabel, desktopUp && !over);
    if (!held.pending && document.activeElement !== this.private && held.mine) this.private.checked = held.private;
    visible(this.share, session !== undefined && !over);
    visible(this.save, workspace !== undefined && !over);
    visible(this.suspend, session !== undefined && !suspended && !asleep && !over);
    visible(this.wake, asleep);
    visible(this.resume, suspended && !over);

    const who = shortUser(held.user);
    setText(this.holder, !desktopUp ? "Desktop" : held.mine ? (held.private ? "You have control, in private" : "You have control")
      : held.holder === "User" ? `${who} has control${held.private ? ", in private" : ""}` : held.pending ? "Handing over…" : "The agent has control");
    this.holder.classList.toggle("mine", held.mine && desktopUp);

    this.chat.update(conversation(model, { mine: held.mine && desktopUp, ready: desktopUp && !over }), plan(model), word !== "Finished" || running);
    this.composer.update(running, over, isChatting(model));
    this.desktop.update({ workspace: workspace?.metadata.name, running: desktopUp, why: this.absence(model, word), mine: held.mine, audience: desktopUp ? audience(model) : [], clipboard: clipboardRule(model) });
    this.results.update(model, Date.now());
  }

  private turnTo(view: "chat" | "desktop"): void {
    this.element.dataset.view = view;
    this.chatView.setAttribute("aria-pressed", String(view === "chat"));
    this.desktopView.setAttribute("aria-pressed", String(view === "desktop"));
  }

  private seek(): void {
    this.turnTo("chat");
    this.chat.seek();
  }

  private loaded(model: Model): boolean {
    return model.gone.size > 0;
  }

  private absence(model: Model, word: string): string {
    const { workspace } = model;
    if (word === "Loading") return "Loading";
    if (!workspace) {
      if (this.missing) return "There is no session of this name. It was deleted, or its name is another one";
      if (word === "Terminated" || word === "Gone") return "The session is over, its desktop is gone";
      const { session } = model;
      if (isChatting(model)) {
        if (this.shell.me.readOnly) return "What is to be done is still being talked about. The desktop comes once it is confirmed";
        return waiting(model).some((request) => request.spec.type === "Handoff")
          ? "The requirement is written down. Confirm it, and an agent gets a desktop of its own"
          : "Say what is to be done. The desktop comes once it is clear and you have confirmed it";
      }
      const ready = session && condition(session, "Ready");
      return ready?.reason === "WorkspaceDeleted" && ready.message ? ready.message : "The desktop is starting";
    }
    const state = workspace.status?.state ?? "Pending";
    if (isAsleep(workspace)) return `${state === "Archived" ? "Asleep; a Snapshot is kept" : "Asleep; the volume is kept"}. Wake, or a message, brings the desktop back`;
    if (state === "Archived") return "Archived. A Snapshot is kept; Resume makes the desktop from it";
    if (state === "Suspended") return "Suspended. The volume is kept; Resume brings the desktop back";
    if (state === "Pending" || state === "Starting") return condition(workspace, "Ready")?.message || "The desktop is starting";
    return state === "Stalled" ? (condition(workspace, "Stalled")?.message ?? "Stalled") : state;
  }

  private open(known: boolean, asleep: boolean): void {
    if (this.opened || !known) return;
    this.opened = true;
    // Whoever may only look is told that it sleeps, by the page itself.
    if (asleep && !this.shell.me.readOnly) api.wake(this.namespace, this.name).catch(() => undefined);
  }

  private worry(session: Session | undefined): void {
    const stalled = isTrue(session, "Stalled") ? condition(session, "Stalled") : undefined;
    visible(this.trouble, stalled !== undefined);
    setText(this.trouble, stalled ? `${stalled.reason}: ${stalled.message}` : "");
  }

  private async say(content: string, delivery: "Queue" | "Steer" | "Interrupt"): Promise<void> {
    await api.say(this.namespace, this.name, { content, delivery });
    this.chat.follow();
  }

  private async interrupt(): Promise<void> {
    const turn = currentTurn(this.feed.model);
    await api.say(this.namespace, this.name, turn > 0 ? { delivery: "Interrupt", turn } : { delivery: "Interrupt" });
  }

  private async hold(holder: "User" | "Agent"): Promise<void> {
    await api.control(this.namespace, this.name, { holder, private: holder === "User" && this.private.checked });
    if (holder === "Agent") this.private.checked = false;
  }

  /** While this person holds control the box acts at once; before, it says how control will be taken. */
  private async privacy(): Promise<void> {
    if (control(this.feed.model, this.shell.me.user).mine) await acting(null, () => this.hold("User"));
  }

  private async snapshot(): Promise<void> {
    const made = await api.save(this.namespace, this.name);
    toast(`Snapshot ${made.metadata.name} is being taken.`);
  }
}
