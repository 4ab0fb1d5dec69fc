// The live desktop: noVNC, scaled to fit. It comes back by itself, shows the last picture dimmed meanwhile, and sends no input
// unless this person holds control.

import RFB from "@novnc/novnc";
import { api, ApiError } from "../api.ts";
import { fill, h, icon, setText, visible } from "../dom.ts";
import { backoff } from "../format.ts";
import { complain, toast } from "../toast.ts";

/** What the Session view wants of the desktop. */
export interface DesktopWish {
  workspace: string | undefined;
  /** Whether a desktop runs at all; else `why` says what there is instead. */
  running: boolean;
  why: string;
  /** This person holds control. */
  mine: boolean;
}

/** Close codes of the proxy that say more than "lost". */
const CLOSED: Readonly<Record<number, string>> = {
  1011: "The desktop does not answer",
  1013: "The connection is too slow",
  4403: "You may no longer see this desktop",
  4404: "The workspace is gone",
  4410: "The desktop is not running",
  4423: "Another person works here in private",
  4429: "Too many viewers",
};

export class Desktop {
  readonly element: HTMLElement;
  private readonly target = h("div", { class: "screen" });
  private readonly frozen = h("canvas", { class: "frozen", "aria-hidden": "true" });
  private readonly notice = h("div", { class: "notice", role: "status", testid: "desktop-notice" });
  private readonly noticeText = h("span");
  private readonly paste: HTMLButtonElement;
  private wish: DesktopWish = { workspace: undefined, running: false, why: "Loading", mine: false };
  private rfb: RFB | undefined;
  private socket: WebSocket | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private opening = false;
  private closed = false;
  /** `control` until the proxy says that this person may only watch. */
  private mode: "control" | "view";
  private readonly wake = (): void => {
    if (!document.hidden && this.timer !== undefined) void this.open();
  };

  constructor(
    private readonly namespace: string,
    private readonly readOnly: boolean,
  ) {
    this.mode = readOnly ? "view" : "control";
    this.paste = h("button", { class: "small", type: "button", testid: "paste", title: "Send this computer's clipboard to the desktop", on: () => void this.sendClipboard() }, icon("paste"), "Paste");
    const full = h("button", { class: "small", type: "button", title: "Full screen", "aria-label": "Full screen", on: () => void this.fullScreen() }, icon("expand"));
    fill(this.notice, h("span", { class: "spinner", "aria-hidden": "true" }), this.noticeText);
    this.element = h("div", { class: "desktop", testid: "desktop", role: "group", "aria-label": "Desktop of the agent" },
      this.frozen, this.target, this.notice, h("div", { class: "tools" }, this.paste, full));
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.say("Loading", true);
  }

  close(): void {
    this.closed = true;
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.drop();
  }

  /** Follows the Session: opens, closes, allows input. */
  update(wish: DesktopWish): void {
    const old = this.wish;
    this.wish = wish;
    if (!wish.running || wish.workspace === undefined) {
      if (this.rfb || this.timer !== undefined || this.opening) this.drop();
      this.say(wish.why, /starting|loading|pending|provisioning/i.test(wish.why));
      this.element.classList.toggle("offline", true);
    } else if (!old.running || old.workspace !== wish.workspace) {
      this.attempt = 0;
      this.drop();
      void this.open();
    }
    this.grant();
  }

  private grant(): void {
    const allowed = this.wish.mine && this.wish.running && this.mode === "control" && !this.readOnly;
    this.element.classList.toggle("mine", allowed);
    visible(this.paste, allowed);
    if (!this.rfb) return;
    const before = this.rfb.viewOnly;
    this.rfb.viewOnly = !allowed;
    if (allowed && before) this.rfb.focus({ preventScroll: true });
    if (!allowed && !before) this.rfb.blur();
  }

  private drop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.freeze();
    const { rfb, socket } = this;
    this.rfb = undefined;
    this.socket = undefined;
    rfb?.disconnect();
    socket?.close();
  }

  private async open(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { workspace } = this.wish;
    if (this.closed || this.opening || this.rfb || workspace === undefined || !this.wish.running) return;
    this.opening = true;
    this.say(this.attempt === 0 ? "Connecting to the desktop" : "Reconnecting", true);
    try {
      const ticket = await this.ticket(workspace);
      if (!this.stale(workspace)) this.attach(workspace, ticket);
    } catch (error) {
      if (!this.stale(workspace)) this.retry(error instanceof Error ? error.message : String(error));
    } finally {
      this.opening = false;
      // The wish changed while the ticket was under way.
      if (this.stale(workspace)) void this.open();
    }
  }

  private stale(workspace: string): boolean {
    return this.closed || !this.wish.running || this.wish.workspace !== workspace;
  }

  private async ticket(workspace: string): Promise<string> {
    try {
      return await api.ticket(this.namespace, workspace, this.mode);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403 || this.mode === "view") throw error;
      this.mode = "view";
      return await api.ticket(this.namespace, workspace, "view");
    }
  }

  private attach(workspace: string, ticket: string): void {
    const url = new URL("/vnc/stream", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, ["binary", `a8s.ticket.${ticket}`]);
    let code = 1006;
    // noVNC does not tell the close code; this listener runs before its own.
    socket.addEventListener("close", (event) => (code = event.code));
    const rfb = new RFB(this.target, socket, { shared: true });
    this.socket = socket;
    this.rfb = rfb;
    rfb.scaleViewport = true;
    rfb.resizeSession = false;
    rfb.focusOnClick = true;
    rfb.background = "transparent";
    rfb.viewOnly = true;
    rfb.addEventListener("connect", () => {
      if (this.rfb !== rfb) return;
      this.attempt = 0;
      this.say("", false);
      this.grant();
      this.reveal(rfb);
    });
    rfb.addEventListener("disconnect", () => {
      if (this.rfb !== rfb) return;
      this.freeze();
      this.rfb = undefined;
      if (!this.stale(workspace)) this.retry(CLOSED[code] ?? "The connection was lost", code);
    });
    rfb.addEventListener("clipboard", ({ detail }) => {
      if (!rfb.viewOnly) navigator.clipboard.writeText(detail.text).catch(() => undefined);
    });
  }

  private retry(why: string, code = 0): void {
    this.element.classList.add("offline");
    // 1012: the proxy restarts, its successor is there already. 4401: the ticket was too old, take a new one.
    const wait = (code === 1012 || code === 4401) && this.attempt === 0 ? 0 : backoff(this.attempt, Math.random());
    this.attempt += 1;
    if (code !== 1012) this.say(`${why}. Trying again`, true);
    this.timer = setTimeout(() => void this.open(), wait);
  }

  /** Keeps the last picture where the live one was. */
  private freeze(): void {
    if (!this.rfb) return;
    try {
      const picture = this.rfb.getImageData();
      this.frozen.width = picture.width;
      this.frozen.height = picture.height;
      this.frozen.getContext("2d")?.putImageData(picture, 0, 0);
    } catch {
      // There never was a picture.
    }
    this.element.classList.add("offline");
  }

  /** The dimmed picture goes once the new connection has drawn something. */
  private reveal(rfb: RFB): void {
    const until = performance.now() + 3000;
    const probe = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
    const look = (): void => {
      if (this.rfb !== rfb) return;
      const canvas = this.target.querySelector("canvas");
      if (probe && canvas && canvas.width > 0) {
        probe.drawImage(canvas, 0, 0, 8, 8);
        const drawn = probe.getImageData(0, 0, 8, 8).data.some((value, at) => at % 4 !== 3 && value > 0);
        if (drawn || performance.now() > until) {
          this.element.classList.remove("offline");
          return;
        }
      }
      requestAnimationFrame(look);
    };
    look();
  }

  private say(text: string, busy: boolean): void {
    setText(this.noticeText, text);
    this.notice.classList.toggle("busy", busy);
    visible(this.notice, text !== "");
  }

  private async sendClipboard(): Promise<void> {
    try {
      const text = await navigator.clipboard.readText();
      this.rfb?.clipboardPasteFrom(text);
      this.rfb?.focus({ preventScroll: true });
      toast("Sent to the desktop's clipboard; paste it there with Ctrl+V.");
    } catch {
      complain("The browser did not allow reading the clipboard.");
    }
  }

  private async fullScreen(): Promise<void> {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.element.requestFullscreen().catch(complain);
  }
}
