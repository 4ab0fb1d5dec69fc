// The live desktop: the picture, the bar above it, and who may touch it. It comes back by itself, shows the last picture dimmed meanwhile,
// and sends no input unless this person holds control.

import type RFB from "@novnc/novnc";
import { fill, h, setText, visible } from "../dom.ts";
import { Meter } from "../live/meter.ts";
import { AUTO, follow, knobs, remember, remembered, type Auto, type Choice, type Sample } from "../live/quality.ts";
import { complain } from "../toast.ts";
import type { ClipboardRule } from "../types.ts";
import { Clipboard } from "./desktop/clipboard.ts";
import { Fit } from "./desktop/fit.ts";
import { Keys } from "./desktop/keys.ts";
import { Picture } from "./desktop/picture.ts";
import { Stream, type Phase } from "./desktop/stream.ts";
import { Toolbar } from "./desktop/toolbar.ts";

/** What the Session view wants of the desktop. */
export interface DesktopWish {
  workspace: string | undefined;
  /** Whether a desktop runs at all; else `why` says what there is instead. */
  running: boolean;
  why: string;
  /** This person holds control. */
  mine: boolean;
  /** Who sees the desktop. */
  audience: readonly string[];
  /** Which way the clipboard's text may go. */
  clipboard: ClipboardRule;
}

/** Where choices are kept; some browsers forbid even to ask. */
function storage(): Storage | undefined {
  try {
    return window.localStorage;
  } catch {
    return undefined;
  }
}

export class Desktop {
  /** The bar and the picture. */
  readonly element: HTMLElement;
  private readonly stage: HTMLElement;
  private readonly box: HTMLElement;
  private readonly target = h("div", { class: "screen" });
  private readonly picture = new Picture();
  private readonly notice = h("div", { class: "notice", role: "status", testid: "desktop-notice" });
  private readonly noticeText = h("span");
  private readonly noticeHelp = h("span", { class: "muted" });
  private readonly retry: HTMLButtonElement;
  private readonly stream: Stream;
  private readonly toolbar: Toolbar;
  private readonly clipboard: Clipboard;
  private readonly keys = new Keys();
  private readonly fit: Fit;
  private readonly meter = new Meter((sample, shown) => this.measured(sample, shown));
  private wish: DesktopWish = { workspace: undefined, running: false, why: "Loading", mine: false, audience: [], clipboard: "Both" };
  private phase: Phase = { kind: "idle" };
  private choice: Choice;
  private auto: Auto = AUTO;
  /** Whoever holds control wants to only watch. */
  private watching = false;
  private actual = false;
  private clipped = false;
  private dragging = false;

  /** `holder` says who has control; it is the Session view's to fill. */
  constructor(
    namespace: string,
    private readonly readOnly: boolean,
    holder: HTMLElement,
  ) {
    this.choice = remembered(storage());
    this.clipboard = new Clipboard(() => this.panel());
    this.fit = new Fit(this.target, storage());
    this.toolbar = new Toolbar(holder, this.clipboard.button, readOnly, this.choice, this.fit.wanted, {
      watching: (yes) => {
        this.watching = yes;
        this.grant();
      },
      keys: () => this.showKeys(this.keys.element.hidden),
      quality: (choice) => {
        this.choice = choice;
        remember(storage(), choice);
        this.applyQuality();
      },
      actual: (yes) => {
        this.actual = yes;
        this.size();
      },
      pan: (yes) => {
        this.dragging = yes;
        this.size();
      },
      match: (yes) => this.fit.want(yes),
      full: () => void this.fullScreen(),
    });
    this.stream = new Stream(this.target, namespace, readOnly, {
      phase: (phase) => this.moved(phase),
      made: (rfb) => this.prepare(rfb),
      losing: (rfb) => this.picture.keep(rfb),
      clipboard: (text) => void this.clipboard.receive(text),
      bytes: (count) => this.meter.count(count),
      clipping: (yes) => {
        this.clipped = yes;
        this.size();
      },
    });
    this.retry = h("button", { class: "small", type: "button", testid: "reconnect", on: () => this.stream.again() }, "Try now");
    fill(this.notice, h("span", { class: "spinner", "aria-hidden": "true" }), h("span", { class: "what" }, this.noticeText, this.noticeHelp), this.retry);
    this.box = h("div", { class: "desktop offline", testid: "desktop", role: "group", "aria-label": "Desktop of the agent" },
      this.picture.element, this.target, this.notice, !readOnly && this.keys.typing);
    this.stage = h("div", { class: "stage" }, this.toolbar.element, !readOnly && this.keys.element, !readOnly && this.clipboard.element, this.box);
    this.element = h("div", { class: "frame" }, this.stage);
    this.keys.watch(this.target);
    this.target.addEventListener("focusin", () => void this.clipboard.entered());
    this.stage.addEventListener("focusout", (event) => {
      // Whoever leaves the desktop leaves no key pressed behind.
      if (!(event.relatedTarget instanceof Node && this.stage.contains(event.relatedTarget)) && document.hasFocus()) this.keys.release();
    });
    this.clipboard.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.panel();
    });
    this.toolbar.phase(this.phase);
    this.say("Loading", "", true, false);
  }

  close(): void {
    this.keys.release();
    this.keys.close();
    this.fit.close();
    this.meter.stop();
    this.stream.close();
  }

  /** Follows the Session: opens, closes, allows input. */
  update(wish: DesktopWish): void {
    const gained = wish.mine && !this.wish.mine;
    this.wish = wish;
    if (gained) this.watching = false;
    this.toolbar.audience(wish.audience);
    this.clipboard.obey(wish.clipboard);
    this.stream.want(wish.running ? wish.workspace : undefined);
    if (!wish.running || wish.workspace === undefined) this.say(wish.why, "", /starting|loading|pending|provisioning/i.test(wish.why), false);
    this.grant();
  }

  private moved(phase: Phase): void {
    this.phase = phase;
    this.toolbar.phase(phase);
    switch (phase.kind) {
      case "idle":
        break;
      case "connecting":
        this.say(phase.again ? "Reconnecting" : "Connecting to the desktop", "", true, false);
        break;
      case "waiting": {
        const { why, help, again } = phase.ending;
        const hint = help ?? (this.wish.mine && !this.readOnly ? "What you type goes nowhere meanwhile." : "");
        const patient = again === "later" || again === "never";
        this.say(patient ? why : `${why}. Trying again`, hint, !patient, again !== "now");
        break;
      }
      case "live":
        this.say("", "", false, false);
        this.picture.drawn(this.target, () => {
          this.box.classList.toggle("offline", this.phase.kind !== "live");
          // Before the first picture nobody knows whether the desktop takes a size.
          this.fit.follow();
        });
        break;
    }
    if (phase.kind === "live") this.meter.start();
    else {
      this.meter.stop();
      this.box.classList.add("offline");
    }
    this.grant();
  }

  /** Who may touch the desktop: whoever holds control, while it answers, unless they only want to watch. */
  private grant(): void {
    const { rfb, mode } = this.stream;
    const mine = this.wish.mine && this.wish.running && mode === "control" && !this.readOnly;
    const allowed = mine && !this.watching;
    const touched = allowed && rfb !== undefined;
    this.box.classList.toggle("mine", touched);
    this.toolbar.hands(mine, allowed, rfb !== undefined);
    if (!allowed && !this.keys.element.hidden) this.showKeys(false);
    visible(this.clipboard.button, allowed);
    if (!allowed && !this.clipboard.element.hidden) this.panel();
    const focused = rfb !== undefined && this.box.contains(document.activeElement);
    // Keys are let go of while they still can be.
    this.keys.use(touched ? rfb : undefined);
    this.clipboard.use(touched ? rfb : undefined);
    if (rfb && rfb.viewOnly === allowed) {
      rfb.viewOnly = !allowed;
      if (allowed && !this.elsewhere()) rfb.focus({ preventScroll: true });
      else if (focused) rfb.blur();
    }
    this.fit.use(touched ? rfb : undefined);
    this.size();
  }

  /** Whether the person writes somewhere else; a desktop that comes back must not take their words. */
  private elsewhere(): boolean {
    const { activeElement } = document;
    return activeElement !== null && activeElement.matches("input, textarea, select") && !this.stage.contains(activeElement);
  }

  private prepare(rfb: RFB): void {
    this.clipped = false;
    this.applyQuality(rfb);
    this.size(rfb);
  }

  private applyQuality(rfb = this.stream.rfb): void {
    this.toolbar.level(this.choice === "Auto" ? this.auto.level : undefined);
    if (!rfb) return;
    const { qualityLevel, compressionLevel } = knobs(this.choice === "Auto" ? this.auto.level : this.choice);
    rfb.qualityLevel = qualityLevel;
    rfb.compressionLevel = compressionLevel;
  }

  private measured(sample: Sample, shown: number | undefined): void {
    this.toolbar.measured(shown);
    // Nothing came back and nothing came in: perhaps nobody is there any more.
    if (sample.rtt === undefined && sample.rate === 0) this.stream.verify();
    this.auto = follow(this.auto, sample);
    if (this.choice === "Auto") this.applyQuality();
  }

  /** The picture is fitted, or cut; the desktop itself changes its size only for who controls it, see `Fit`. */
  private size(rfb = this.stream.rfb): void {
    // Whoever cannot touch the desktop has no other use for dragging.
    const dragging = this.actual && this.clipped && (this.dragging || (rfb?.viewOnly ?? true));
    this.toolbar.sized(this.actual, this.clipped, dragging);
    this.box.classList.toggle("panning", dragging);
    if (!rfb) return;
    if (rfb.scaleViewport === this.actual) rfb.scaleViewport = !this.actual;
    if (rfb.clipViewport !== this.actual) rfb.clipViewport = this.actual;
    rfb.dragViewport = dragging;
  }

  private say(text: string, help: string, busy: boolean, button: boolean): void {
    setText(this.noticeText, text);
    setText(this.noticeHelp, help);
    this.notice.classList.toggle("busy", busy);
    visible(this.retry, button);
    visible(this.notice, text !== "");
  }

  private panel(): void {
    const open = this.clipboard.element.hidden;
    visible(this.clipboard.element, open);
    this.clipboard.button.setAttribute("aria-expanded", String(open));
    this.clipboard.button.classList.remove("news");
    if (open) this.clipboard.element.querySelector("textarea")?.focus();
    else this.stream.rfb?.focus({ preventScroll: true });
  }

  private showKeys(yes: boolean): void {
    visible(this.keys.element, yes);
    this.stage.classList.toggle("with-keys", yes);
    this.toolbar.keysShown(yes);
    if (yes) this.stream.rfb?.focus({ preventScroll: true });
    else this.keys.release();
  }

  private async fullScreen(): Promise<void> {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.stage.requestFullscreen().catch(complain);
  }
}
