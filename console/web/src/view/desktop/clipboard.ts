// The clipboard, both ways. Where the browser lets the page at its clipboard, one press does it; where it does not, the text is in a field to
// be copied by hand. Either way the panel says what happened. This computer's clipboard is sent only when the person asks for it, or asked
// once for it to be sent always: it may hold what an agent must not see.

import type RFB from "@novnc/novnc";
import { h, icon, setText, visible } from "../../dom.ts";
import type { ClipboardRule } from "../../types.ts";

const KEY = "a8s.clipboard";
/** What the desktop takes at most (Xvnc's MaxCutText). */
const MOST = 1_000_000;

/** Why one way, or both, is closed. */
const CLOSED: Readonly<Record<ClipboardRule, string>> = {
  Both: "",
  In: "What is copied in this desktop stays there: its environment only allows pasting into it.",
  Out: "Nothing can be pasted into this desktop: its environment only allows copying out of it.",
  None: "This desktop's clipboard is its own: its environment allows neither pasting into it nor copying out of it.",
};

export class Clipboard {
  readonly element: HTMLElement;
  /** Opens the panel. */
  readonly button: HTMLButtonElement;
  private rfb: RFB | undefined;
  /** What both sides have already. */
  private shared: string | undefined;
  private readonly out: HTMLTextAreaElement;
  private readonly said = h("p", { class: "said", role: "status", "aria-live": "polite", testid: "clipboard-status" });
  private readonly incoming: HTMLTextAreaElement;
  private readonly arrived: HTMLElement;
  private readonly always: HTMLInputElement;
  private readonly outgoing: HTMLElement;
  private readonly habit: HTMLElement;
  private readonly closed = h("p", { class: "muted", testid: "clipboard-rule" });
  private rule: ClipboardRule = "Both";

  /** `toggle` is called for the panel's button. */
  constructor(toggle: () => void) {
    this.button = h("button", { class: "tool", type: "button", testid: "clipboard", "aria-label": "Clipboard", title: "Clipboard", "aria-expanded": "false", on: toggle }, icon("paste"));
    this.out = h("textarea", { rows: "3", testid: "clipboard-out", "aria-label": "Text for the desktop", placeholder: "Type or paste text here…", maxlength: String(MOST) });
    this.incoming = h("textarea", { rows: "3", readonly: true, testid: "clipboard-in", "aria-label": "Text from the desktop" });
    this.always = h("input", { type: "checkbox", testid: "clipboard-always", on: () => this.keepChoice() });
    this.always.checked = read() === "always";
    this.arrived = h("div", { class: "part" }, h("label", {}, "From the desktop"), this.incoming,
      h("div", { class: "buttons" }, h("button", { class: "small", type: "button", testid: "clipboard-copy", on: () => void this.copy() }, "Copy")));
    this.outgoing = h("div", { class: "part" }, h("label", {}, "To the desktop"), this.out,
        h("div", { class: "buttons" },
          h("button", { class: "small", type: "button", testid: "paste", title: "Send what this computer's clipboard holds", on: () => void this.paste() }, icon("paste"), "This computer's clipboard"),
          h("button", { class: "small primary", type: "button", testid: "clipboard-send", on: () => this.send(this.out.value) }, "Send")));
    this.habit = h("label", { class: "check" }, this.always, "Send this computer's clipboard whenever I click into the desktop");
    this.element = h("div", { class: "panel", testid: "clipboard-panel", role: "group", "aria-label": "Clipboard" },
      this.closed, this.outgoing, this.arrived, this.habit, this.said);
    visible(this.closed, false);
    visible(this.arrived, false);
    visible(this.element, false);
  }

  /** The desktop that takes text, or none. */
  use(rfb: RFB | undefined): void {
    this.rfb = rfb;
  }

  /** The desktop's Environment decides; here it is only told, and what would have no effect is not offered. */
  obey(rule: ClipboardRule): void {
    this.rule = rule;
    setText(this.closed, CLOSED[rule]);
    visible(this.closed, rule !== "Both");
    for (const part of [this.outgoing, this.habit]) visible(part, this.goesIn());
    if (rule === "In" || rule === "None") visible(this.arrived, false);
  }

  private goesIn(): boolean {
    return this.rule === "Both" || this.rule === "In";
  }

  /** The desktop has something new. Only who works there gets it. */
  async receive(text: string): Promise<void> {
    if (!this.rfb || text === "" || text === this.shared) return;
    this.shared = text;
    this.incoming.value = text;
    visible(this.arrived, true);
    await this.copy();
  }

  /** The person clicked into the desktop. */
  async entered(): Promise<void> {
    if (!this.rfb || !this.always.checked || !this.goesIn()) return;
    let text: string;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      this.say("This browser does not let the page read the clipboard.");
      return;
    }
    if (text !== "" && text !== this.shared) this.send(text);
  }

  private async paste(): Promise<void> {
    try {
      const text = await navigator.clipboard.readText();
      this.out.value = text;
      if (text === "") this.say("This computer's clipboard holds no text.");
      else this.send(text);
    } catch {
      this.say("This browser does not let the page read the clipboard. Paste the text into the field, then press Send.");
      this.out.focus();
    }
  }

  private send(text: string): void {
    if (text === "") {
      this.say("There is nothing to send.");
      this.out.focus();
      return;
    }
    if (text.length > MOST) {
      this.say("The text is too long for the desktop's clipboard.");
      return;
    }
    if (!this.rfb) {
      this.say("Nothing was sent: the desktop is not connected, or you only watch.");
      return;
    }
    this.rfb.clipboardPasteFrom(text);
    this.shared = text;
    this.say(`${count(text)} sent. Press Ctrl+V in the desktop.`);
  }

  private async copy(): Promise<void> {
    const text = this.incoming.value;
    try {
      await navigator.clipboard.writeText(text);
      this.button.classList.remove("news");
      this.say(`${count(text)} copied from the desktop.`);
    } catch {
      this.button.classList.add("news");
      if (this.element.hidden) {
        this.say("The desktop has a text for you. Open this panel to copy it: the browser does not let the page do it.");
        return;
      }
      this.incoming.select();
      this.say("This browser does not let the page write the clipboard. The text is selected: press Ctrl+C.");
    }
  }

  private say(text: string): void {
    setText(this.said, text);
    this.button.title = `Clipboard: ${text}`;
  }

  private keepChoice(): void {
    try {
      localStorage.setItem(KEY, this.always.checked ? "always" : "asked");
    } catch {
      // The choice is forgotten with the page.
    }
  }
}

function count(text: string): string {
  const { length } = Array.from(text);
  return length === 1 ? "1 character" : `${length} characters`;
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
