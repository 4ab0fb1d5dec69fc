// The box in which a person writes. Enter sends, Shift+Enter makes a new line. While the agent works the person says when it gets the Message.

import { h, icon, visible } from "../dom.ts";
import { acting } from "../toast.ts";
import type { Delivery } from "../types.ts";

export class Composer {
  readonly element: HTMLFormElement;
  private readonly input: HTMLTextAreaElement;
  private readonly send: HTMLButtonElement;
  private readonly choice: HTMLElement;
  private delivery: Delivery = "Queue";

  constructor(say: (content: string, delivery: Delivery) => Promise<void>) {
    this.input = h("textarea", { rows: "2", testid: "message-input", "aria-label": "Message to the agent", placeholder: "Message the agent…", maxlength: "32768" });
    this.send = h("button", { class: "primary send", type: "submit", testid: "message-send", "aria-label": "Send" }, icon("send"));
    this.choice = h("div", { class: "segments", role: "radiogroup", "aria-label": "When the agent gets it" },
      this.option("Queue", "after this turn", true), this.option("Steer", "at once", false));
    this.element = h("form", { class: "composer", on: (event) => {
      event.preventDefault();
      const content = this.input.value.trim();
      if (content === "" || this.send.disabled) return;
      void acting(this.send, () => say(content, this.choice.hidden ? "Queue" : this.delivery)).then((sent) => {
        // A text that was changed meanwhile stays.
        if (sent && this.input.value.trim() === content) this.input.value = "";
        this.grow();
        this.input.focus();
      });
    } }, this.choice, h("div", { class: "write" }, this.input, this.send));
    this.input.addEventListener("input", () => this.grow());
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.element.requestSubmit();
    });
  }

  /** `chatting`: there is no agent yet, the chat agent listens. */
  update(running: boolean, over: boolean, chatting: boolean): void {
    this.input.placeholder = chatting ? "Say what is to be done…" : "Message the agent…";
    visible(this.choice, running);
    visible(this.element, !over);
  }

  private option(delivery: Delivery, hint: string, checked: boolean): HTMLElement {
    return h("label", { title: hint }, h("input", { type: "radio", name: "delivery", value: delivery, checked, testid: `delivery-${delivery}`, on: () => (this.delivery = delivery) }),
      h("span", {}, delivery, h("small", {}, hint)));
  }

  private grow(): void {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, 180)}px`;
  }
}
