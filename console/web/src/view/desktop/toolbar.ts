// The bar above the desktop: who has it in hand, who watches, how the connection is, and what can be done with the picture.

import { fill, h, icon, setText, visible, type Icon } from "../../dom.ts";
import { shortUser } from "../../format.ts";
import { latencyWords } from "../../live/meter.ts";
import { CHOICES, words, type Choice } from "../../live/quality.ts";
import type { Phase } from "./stream.ts";

export interface ToolbarEvents {
  /** Whoever holds control only watches, or works again. */
  watching: (yes: boolean) => void;
  keys: () => void;
  quality: (choice: Choice) => void;
  /** Actual size instead of fitted. */
  actual: (yes: boolean) => void;
  /** Dragging moves the part that is seen instead of the desktop's mouse. */
  pan: (yes: boolean) => void;
  /** The desktop takes the size of the window. */
  match: (yes: boolean) => void;
  full: () => void;
}

/** A button that stays pressed. */
function toggle(testid: string, label: string, picture: Icon, turn: (on: boolean) => void): HTMLButtonElement {
  const button: HTMLButtonElement = h("button", { class: "tool", type: "button", testid, "aria-label": label, title: label, "aria-pressed": "false", on: () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    press(button, on);
    turn(on);
  } }, icon(picture));
  return button;
}

function press(button: HTMLButtonElement, on: boolean): void {
  button.setAttribute("aria-pressed", String(on));
}

export class Toolbar {
  readonly element: HTMLElement;
  private readonly watch: HTMLButtonElement;
  private readonly watchText = h("span");
  private readonly keys: HTMLButtonElement;
  private readonly quality: HTMLSelectElement;
  private readonly auto = h("option", { value: "Auto" });
  private readonly actual: HTMLButtonElement;
  private readonly pan: HTMLButtonElement;
  private readonly match: HTMLButtonElement;
  private readonly state = h("span", { role: "status", "aria-live": "polite", testid: "connection-state" });
  private readonly latency = h("span", { class: "latency", testid: "latency", title: "Round trip between this page and the console" });
  private readonly connection: HTMLElement;
  private readonly people: HTMLDetailsElement;
  private readonly peopleCount = h("span");
  private readonly peopleList = h("ul", { class: "panel", "aria-label": "Who watches" });
  private interactive = false;

  constructor(holder: HTMLElement, clipboard: HTMLElement, readOnly: boolean, choice: Choice, matching: boolean, events: ToolbarEvents) {
    this.watch = h("button", { class: "tool worded", type: "button", testid: "toggle-input", on: () => events.watching(this.interactive) }, this.watchText);
    this.keys = toggle("toggle-keys", "Keys on the screen", "keyboard", events.keys);
    this.quality = h("select", { class: "tool", testid: "quality", "aria-label": "Quality of the picture", title: "Quality of the picture", on: () => events.quality(this.quality.value as Choice) },
      this.auto, ...CHOICES.filter((one) => one !== "Auto").map((one) => h("option", { value: one }, words(one))));
    this.quality.value = choice;
    this.actual = toggle("fit", "Actual size", "actual", events.actual);
    this.pan = toggle("pan", "Move the picture by dragging", "move", events.pan);
    this.match = toggle("match", "Fit the desktop to my window", "fit", events.match);
    press(this.match, matching);
    const full = document.fullscreenEnabled && h("button", { class: "tool", type: "button", testid: "fullscreen", "aria-label": "Full screen", title: "Full screen", on: () => events.full() }, icon("expand"));
    this.connection = h("span", { class: "badge calm", testid: "connection" }, this.state, this.latency);
    this.people = h("details", { class: "people", testid: "audience" }, h("summary", { title: "Who watches" }, icon("people"), this.peopleCount), this.peopleList);
    this.element = h("div", { class: "bar" },
      h("div", { class: "who-holds" }, icon("eye"), holder, this.people, this.connection),
      h("div", { class: "tools", role: "toolbar", "aria-label": "Desktop" }, !readOnly && this.watch, !readOnly && this.keys, !readOnly && clipboard, this.quality, this.actual, this.pan, !readOnly && this.match, full));
    visible(this.people, false);
    visible(this.watch, false);
    visible(this.keys, false);
    visible(this.pan, false);
    visible(this.match, false);
    this.level(undefined);
  }

  /** What this person may do: nothing, or work, or watch although they could work. */
  hands(mine: boolean, interactive: boolean, live: boolean): void {
    this.interactive = interactive;
    this.watch.disabled = !live;
    visible(this.watch, mine);
    setText(this.watchText, interactive ? "Interactive" : "View only");
    this.watch.title = interactive ? "Mouse and keyboard go to the desktop. Press to only watch" : "You only watch, though you have control. Press to work";
    press(this.watch, interactive);
    this.watch.setAttribute("aria-label", `Interactive: ${interactive ? "on" : "off, view only"}`);
    visible(this.keys, interactive);
    visible(this.match, interactive);
  }

  /** The level that Auto has chosen. */
  level(level: string | undefined): void {
    setText(this.auto, level === undefined ? "Auto" : `Auto: ${level}`);
  }

  keysShown(yes: boolean): void {
    press(this.keys, yes);
  }

  sized(actual: boolean, clipped: boolean, dragging: boolean): void {
    press(this.actual, actual);
    this.actual.title = actual ? "Fit the desktop into the window" : "Actual size";
    visible(this.pan, actual && clipped);
    press(this.pan, dragging);
  }

  phase(phase: Phase): void {
    const [tone, text] = phase.kind === "live" ? ["good", "Live"] : phase.kind === "connecting" ? ["busy", phase.again ? "Reconnecting" : "Connecting"]
      : phase.kind === "waiting" ? ["bad", "Not connected"] : ["calm", "Off"];
    this.connection.className = `badge ${tone}`;
    setText(this.state, text);
    if (phase.kind !== "live") this.measured(undefined);
  }

  measured(rtt: number | undefined): void {
    setText(this.latency, latencyWords(rtt));
  }

  audience(names: readonly string[]): void {
    visible(this.people, names.length > 0);
    setText(this.peopleCount, String(names.length));
    this.people.querySelector("summary")?.setAttribute("aria-label", names.length === 1 ? "1 person watches" : `${names.length} people watch`);
    if (this.peopleList.dataset.of === names.join("\n")) return;
    this.peopleList.dataset.of = names.join("\n");
    fill(this.peopleList, ...names.map((name) => h("li", { title: name }, shortUser(name))));
  }
}
