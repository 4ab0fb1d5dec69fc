// The conversation.

import type { Entry } from "../conversation.ts";
import { h, icon, KeyedList } from "../dom.ts";
import { clock, shortUser } from "../format.ts";
import { markdown } from "../markdown.ts";
import type { LiveStep } from "../model.ts";
import type { PlanStep } from "../types.ts";
import { card, type Deciding } from "./request.ts";

const STATE_WORDS = { sending: "sending", queued: "queued", delivered: "delivered", done: "", dropped: "not delivered" } as const;

export class Chat {
  readonly element: HTMLElement;
  private readonly log: HTMLElement;
  private readonly list: KeyedList<Entry>;
  private readonly planBox = h("div", { class: "plan", testid: "plan" });
  private readonly planList = new KeyedList<PlanStep & { at: number }>(this.planBox, (p) => String(p.at), (p) => planLine(p));

  /** Without `deciding` the page only shows what is asked. */
  constructor(deciding: Deciding | undefined) {
    const entries = h("ol", { class: "entries" });
    this.list = new KeyedList(entries, (entry) => entry.key, (entry, old) => render(entry, old, deciding));
    this.planBox.setAttribute("role", "list");
    this.planBox.setAttribute("aria-label", "Plan of the agent");
    this.log = h("div", { class: "log", testid: "chat", role: "log", "aria-label": "Conversation", tabindex: "0" }, entries);
    this.element = h("div", { class: "chat" }, this.log, this.planBox);
  }

  update(entries: Entry[], plan: PlanStep[], shown: boolean): void {
    const { log } = this;
    // Follow the conversation unless the person reads further up.
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    this.list.update(entries);
    this.planBox.hidden = plan.length === 0 || !shown;
    this.planList.update(plan.map((step, at) => ({ ...step, at })));
    if (follow) log.scrollTop = log.scrollHeight;
  }

  /** To the first Request that waits. */
  seek(): void {
    this.log.querySelector(".request.open")?.scrollIntoView({ block: "nearest" });
  }

  /** To the end, after the person said something. */
  follow(): void {
    this.log.scrollTop = this.log.scrollHeight;
  }
}

function planLine(step: PlanStep): HTMLElement {
  const words = step.status === "completed" ? "done" : step.status === "in_progress" ? "in progress" : "to do";
  return h("div", { class: `plan-step ${step.status}`, role: "listitem", "aria-label": `${step.title}: ${words}` }, dot(step.status), h("span", {}, step.title));
}

function dot(status: string): HTMLElement {
  const mark = h("span", { class: `dot ${status}`, "aria-hidden": "true" });
  if (status === "completed") mark.append(icon("check"));
  if (status === "failed" || status === "cancelled") mark.append(icon("cross"));
  return mark;
}

function render(entry: Entry, old: HTMLElement | undefined, deciding: Deciding | undefined): HTMLElement {
  switch (entry.kind) {
    case "request":
      return card(entry.request, entry.hands, deciding);
    case "message":
      return message(entry);
    case "notice":
      return h("li", { class: "line" }, h("span", {}, entry.text));
    case "typing":
      return h("li", { class: "entry agent typing", "aria-hidden": entry.text === "" ? undefined : "true" },
        entry.text === "" ? h("div", { class: "thinking", role: "img", "aria-label": "The agent works" }, h("i"), h("i"), h("i")) : body(entry.text));
    case "steps":
      return steps(entry.steps, entry.open, old?.querySelector("details")?.open ?? false);
  }
}

function body(text: string): HTMLElement {
  const element = h("div", { class: "body" });
  element.append(markdown(text));
  return element;
}

function message(entry: Extract<Entry, { kind: "message" }>): HTMLElement {
  const word = entry.state ? STATE_WORDS[entry.state] : "";
  const name = entry.speaker === "agent" ? "Agent" : entry.speaker === "system" ? "a8s" : shortUser(entry.author) || "You";
  return h("li", { class: `entry ${entry.speaker}${entry.abandoned ? " abandoned" : ""}${entry.goal ? " is-goal" : ""}`, testid: `message-${entry.speaker}` },
    h("div", { class: "by" }, h("strong", { title: entry.author }, name), entry.goal && h("span", { class: "tag" }, "goal"), entry.steered && h("span", { class: "tag steer" }, "steer"),
      h("time", { datetime: entry.at }, clock(entry.at, Date.now())),
      word !== "" && h("span", { class: `delivery ${entry.state ?? ""}`, title: entry.why || undefined }, word)),
    body(entry.text),
    entry.why !== "" && h("p", { class: "why" }, entry.why));
}

function steps(all: LiveStep[], open: boolean, unfolded: boolean): HTMLElement {
  const last = all.at(-1);
  const count = all.length === 1 ? "1 step" : `${all.length} steps`;
  const details = h("details", { open: unfolded },
    h("summary", {}, dot(open ? "in_progress" : (last?.status ?? "completed")), h("span", { class: "latest" }, last?.title ?? ""), h("span", { class: "muted" }, count)),
    h("ul", {}, ...all.map((step) => h("li", {}, dot(step.status), h("span", {}, step.title)))));
  return h("li", { class: "steps" }, details);
}
