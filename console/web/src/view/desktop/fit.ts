// The desktop takes the size of the window, if whoever controls it wants so. noVNC's own way asks again and again for a size that the
// desktop does not take (a window that is too small, half a pixel); here it is asked once for each size that the window comes to rest at.

import type RFB from "@novnc/novnc";

const KEY = "a8s.fit";
/** A window that is dragged changes its size with every frame. */
const REST_MS = 300;

export class Fit {
  private rfb: RFB | undefined;
  private rest: number | undefined;
  private readonly observer: ResizeObserver | undefined;
  /** Whether the desktop is to follow the window. */
  wanted: boolean;

  /** `target` is the element that the picture fills. */
  constructor(
    target: HTMLElement,
    private readonly storage: Pick<Storage, "getItem" | "setItem"> | undefined,
  ) {
    this.wanted = this.read();
    // Old browsers, and tests, have none: then the desktop follows when control is taken or the choice is made.
    this.observer = typeof ResizeObserver === "undefined" ? undefined : new ResizeObserver(() => this.follow());
    this.observer?.observe(target);
  }

  /** The desktop that this person controls, or none. */
  use(rfb: RFB | undefined): void {
    if (this.rfb === rfb) return;
    this.rfb = rfb;
    this.follow();
  }

  /** The person chooses. Without it the desktop keeps the size that it has. */
  want(yes: boolean): void {
    this.wanted = yes;
    try {
      this.storage?.setItem(KEY, yes ? "window" : "own");
    } catch {
      // Storage is full or forbidden: the choice is forgotten with the page.
    }
    this.follow();
  }

  close(): void {
    this.observer?.disconnect();
    window.clearTimeout(this.rest);
  }

  /** The desktop follows as soon as the window rests. */
  follow(): void {
    window.clearTimeout(this.rest);
    if (this.wanted && this.rfb) this.rest = window.setTimeout(() => this.ask(), REST_MS);
  }

  private ask(): void {
    if (!this.wanted || !this.rfb) return;
    // Setting it asks at once, if the size differs; left on, it would ask without end.
    this.rfb.resizeSession = true;
    this.rfb.resizeSession = false;
  }

  private read(): boolean {
    try {
      return this.storage?.getItem(KEY) === "window";
    } catch {
      return false;
    }
  }
}
