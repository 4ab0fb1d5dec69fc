// Keys that a keyboard lacks or that the browser keeps for itself, and the keyboard of a touch device.

import type RFB from "@novnc/novnc";
import { h, icon, visible } from "../../dom.ts";
import { functionKey, KEYS, keysymOf, MODIFIERS, namedKey, typed, type Key } from "../../live/keysyms.ts";
import { letGo, STICKY, touch, used, type Change, type Held, type Modifier } from "../../live/sticky.ts";

/** Something to delete must be there, or touch keyboards send no Backspace. */
const FILL = "_".repeat(60);

export class Keys {
  readonly element: HTMLElement;
  /** Where a touch keyboard types into; nobody sees it. */
  readonly typing: HTMLTextAreaElement;
  private held: Held = {};
  private rfb: RFB | undefined;
  private readonly buttons = new Map<Modifier, HTMLButtonElement>();
  private readonly blurred = (): void => this.release();

  constructor() {
    const cap = (label: string, name: string, work: () => void): HTMLButtonElement => {
      const button = h("button", { class: "cap", type: "button", testid: `key-${name.toLowerCase()}`, "aria-label": label === name ? undefined : name, on: work }, label);
      // The desktop keeps the focus, and a touch keyboard stays.
      button.addEventListener("pointerdown", (event) => event.preventDefault());
      button.addEventListener("mousedown", (event) => event.preventDefault());
      return button;
    };
    const key = (label: string, name: string, of: Key): HTMLButtonElement => cap(label, name, () => this.press(of));
    const sticky = (modifier: Modifier): HTMLButtonElement => {
      const button = cap(modifier, modifier, () => this.apply(touch(this.held, modifier)));
      button.title = `${modifier} with the next key; twice to hold it`;
      this.buttons.set(modifier, button);
      return button;
    };
    this.typing = h("textarea", { class: "typing", testid: "touch-input", "aria-label": "Text for the desktop", autocomplete: "off", autocapitalize: "off", autocorrect: "off", spellcheck: "false", tabindex: "-1" });
    this.typing.value = FILL;
    this.typing.addEventListener("input", () => this.input());
    this.typing.addEventListener("keydown", (event) => {
      const named = namedKey(event.key);
      if (!named || event.isComposing) return;
      event.preventDefault();
      this.press(named);
    });
    const keyboard = cap("Keyboard", "Keyboard", () => {
      if (document.activeElement === this.typing) this.typing.blur();
      else this.typing.focus({ preventScroll: true });
    });
    keyboard.prepend(icon("keyboard"));
    keyboard.classList.add("touch-only");
    this.element = h("div", { class: "keys", role: "toolbar", "aria-label": "Keys", testid: "keys" }, keyboard,
      key("Esc", "Escape", KEYS.Esc), key("Tab", "Tab", KEYS.Tab), ...STICKY.map(sticky),
      key("←", "Left", KEYS.Left), key("↑", "Up", KEYS.Up), key("↓", "Down", KEYS.Down), key("→", "Right", KEYS.Right), key("Del", "Delete", KEYS.Delete),
      cap("Ctrl+Alt+Del", "Ctrl-Alt-Del", () => {
        this.release();
        this.rfb?.sendCtrlAltDel();
      }),
      ...Array.from({ length: 12 }, (_, at) => key(`F${at + 1}`, `F${at + 1}`, functionKey(at + 1))));
    visible(this.element, false);
    window.addEventListener("blur", this.blurred);
    this.show();
  }

  close(): void {
    window.removeEventListener("blur", this.blurred);
  }

  /** The desktop that takes the keys, or none. What is held is let go of first. */
  use(rfb: RFB | undefined): void {
    if (rfb === this.rfb) return;
    this.release();
    this.rfb = rfb;
    if (!rfb && document.activeElement === this.typing) this.typing.blur();
    for (const button of this.element.querySelectorAll("button")) button.disabled = rfb === undefined;
  }

  /** Watches the keys and clicks that go to the desktop itself, which use up a modifier too. */
  watch(target: HTMLElement): void {
    const physical = (event: Event): void => {
      if (event instanceof KeyboardEvent && ["Control", "Alt", "Shift", "Meta", "AltGraph"].includes(event.key)) return;
      // noVNC handles the event first.
      setTimeout(() => this.apply(used(this.held)), 0);
    };
    for (const type of ["keyup", "mouseup", "touchend"]) target.addEventListener(type, physical, { capture: true });
  }

  /** Lets go of everything, also of what a keyboard of this computer holds. */
  release(): void {
    const { rfb } = this;
    this.apply(letGo(this.held));
    if (rfb && !rfb.viewOnly) for (const { keysym, code } of MODIFIERS) rfb.sendKey(keysym, code, false);
  }

  private press({ keysym, code }: Key): void {
    this.rfb?.sendKey(keysym, code);
    this.apply(used(this.held));
    if (document.activeElement !== this.typing) this.rfb?.focus({ preventScroll: true });
  }

  private input(): void {
    const { erase, text } = typed(this.before, this.typing.value);
    for (let at = 0; at < erase; at += 1) this.rfb?.sendKey(KEYS.BackSpace.keysym, KEYS.BackSpace.code);
    for (const char of text) this.rfb?.sendKey(keysymOf(char), "");
    if (erase > 0 || text !== "") this.apply(used(this.held));
    const { length } = this.typing.value;
    if (length < 20 || length > 400) this.typing.value = FILL;
    this.before = this.typing.value;
  }
  private before = FILL;

  private apply({ held, press, release }: Change): void {
    this.held = held;
    for (const name of press) this.rfb?.sendKey(KEYS[name].keysym, KEYS[name].code, true);
    for (const name of release) this.rfb?.sendKey(KEYS[name].keysym, KEYS[name].code, false);
    this.show();
  }

  private show(): void {
    for (const [name, button] of this.buttons) {
      button.setAttribute("aria-pressed", String(this.held[name] !== undefined));
      button.classList.toggle("locked", this.held[name] === "locked");
    }
  }
}
