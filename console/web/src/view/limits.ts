// What was used, and what to do when a limit is reached: raise it, and the agent goes on.

import { h, setText, visible } from "../dom.ts";
import { count, duration } from "../format.ts";
import { acting } from "../toast.ts";
import { condition, isTrue, type Limits, type Session, type Usage } from "../types.ts";

/** The limits of a Session with the words for them, and what twice as much would be. */
const ALL = [
  { field: "turns", unit: "turns", limit: (limits: Limits) => limits.turns, next: (value: number) => ({ turns: value }) },
  { field: "tokens", unit: "tokens", limit: (limits: Limits) => limits.tokens, next: (value: number) => ({ tokens: value }) },
  { field: "activeDuration", unit: "hours", limit: (limits: Limits) => hours(limits.activeDuration), next: (value: number) => ({ activeDuration: `${Math.max(1, Math.round(value * 60))}m` }) },
] as const;

/** `1h30m` as hours. */
export function hours(text: string | undefined): number | undefined {
  const match = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(text ?? "");
  if (!match || text === undefined || text === "") return undefined;
  const [days, whole, minutes, seconds] = match.slice(1).map((part) => Number(part || 0));
  return (days ?? 0) * 24 + (whole ?? 0) + (minutes ?? 0) / 60 + (seconds ?? 0) / 3600;
}

/** One line about what was used: `12 model calls · 182k tokens · $1.27 · 14m of work`. */
export function usageLine(usage: Usage | undefined): string {
  if (usage === undefined) return "";
  const tokens = usage.inputTokens + usage.outputTokens;
  return [
    usage.requests > 0 ? `${count(usage.requests)} model ${usage.requests === 1 ? "call" : "calls"}` : "",
    tokens > 0 ? `${count(tokens)} tokens` : "",
    usage.cost ? `$${usage.cost}` : "",
    usage.activeSeconds > 0 ? `${duration(usage.activeSeconds)} of work` : "",
  ].filter((part) => part !== "").join(" · ");
}

export class LimitBanner {
  readonly element: HTMLElement;
  private readonly text = h("span");
  private readonly boxes: { field: string; unit: string; element: HTMLElement; input: HTMLInputElement }[];

  constructor(raise: ((limits: Limits) => Promise<void>) | undefined) {
    this.boxes = ALL.map(({ field, unit }) => {
      const input = h("input", { type: "number", min: "0", step: "any", testid: `limit-${field}`, "aria-label": `Limit of ${unit}` });
      return { field, unit, input, element: h("label", { class: "limit" }, input, unit) };
    });
    const button: HTMLButtonElement = h("button", { class: "primary small", type: "submit", testid: "raise" }, "Raise the limit");
    const form = raise && h("form", { on: (event) => {
      event.preventDefault();
      void acting(button, () => raise(this.wanted()));
    } }, ...this.boxes.map((box) => box.element), button);
    this.element = h("div", { class: "limited", role: "status", testid: "limited" }, this.text, form);
    visible(this.element, false);
  }

  update(session: Session | undefined): void {
    const reached = isTrue(session, "Limited");
    visible(this.element, reached);
    if (!reached) return;
    // The controller's sentence ends in a command for kubectl, which the form is here.
    setText(this.text, (condition(session, "Limited")?.message ?? "A limit is reached; the agent stands still.").split(": kubectl")[0] ?? "");
    const limits = session?.spec.limits ?? {};
    for (const [at, { limit }] of ALL.entries()) {
      const [box, value] = [this.boxes[at], limit(limits)];
      if (!box) continue;
      visible(box.element, value !== undefined);
      if (value !== undefined && box.input.dataset.of !== String(value)) {
        box.input.dataset.of = String(value);
        box.input.value = String(value * 2);
      }
    }
  }

  /** Only what differs is sent. */
  private wanted(): Limits {
    const changed = ALL.map(({ next }, at) => {
      const box = this.boxes[at];
      const value = Number(box?.input.value);
      return box && !box.element.hidden && value > 0 && box.input.value !== box.input.dataset.of ? next(value) : {};
    });
    return Object.assign({}, ...changed) as Limits;
  }
}
