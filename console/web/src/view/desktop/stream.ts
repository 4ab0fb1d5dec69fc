// The connection to one desktop: a ticket, a WebSocket, noVNC, and all of it again whenever it is lost. It knows nothing of buttons.

import RFB from "@novnc/novnc";
import { api, ApiError } from "../../api.ts";
import { ending, pause, refusal, type Ending } from "../../live/closes.ts";

/** Where the connection is. `waiting`: it was lost or refused, and is tried again after `wait` milliseconds, or when the person says so. */
export type Phase =
  | { kind: "idle" }
  | { kind: "connecting"; again: boolean }
  | { kind: "live" }
  | { kind: "waiting"; ending: Ending; wait: number | undefined };

export interface StreamEvents {
  phase: (phase: Phase) => void;
  /** A new RFB object, before it says anything to the server. */
  made: (rfb: RFB) => void;
  /** The picture is about to go: the last moment to keep it. */
  losing: (rfb: RFB) => void;
  clipboard: (text: string) => void;
  /** Bytes that came in. */
  bytes: (count: number) => void;
  /** Whether the picture is larger than the place it has. */
  clipping: (yes: boolean) => void;
}

/** A connection that was not answered within this time is dead, whatever the browser thinks. */
const ANSWER_MS = 5000;
/** The proxy gives itself five seconds to reach the desktop; then there must have been a first byte. */
const HELLO_MS = 15_000;

export class Stream {
  /** Set while the desktop answers. */
  rfb: RFB | undefined;
  /** `control` until the proxy says that this person may only watch. */
  mode: "control" | "view";
  private pending: RFB | undefined;
  private socket: WebSocket | undefined;
  private workspace: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private check: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private opening = false;
  private closed = false;
  private readonly wake = (): void => {
    if (document.hidden || this.closed) return;
    if (this.timer !== undefined) this.again();
    else this.verify();
  };

  constructor(
    private readonly target: HTMLElement,
    private readonly namespace: string,
    private readonly readOnly: boolean,
    private readonly events: StreamEvents,
  ) {
    this.mode = readOnly ? "view" : "control";
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
  }

  close(): void {
    this.closed = true;
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.drop();
  }

  /** Which desktop is wanted, or none. */
  want(workspace: string | undefined): void {
    if (workspace === this.workspace) return;
    this.workspace = workspace;
    this.attempt = 0;
    this.mode = this.readOnly ? "view" : "control";
    this.drop();
    if (workspace === undefined) this.events.phase({ kind: "idle" });
    else void this.open();
  }

  /** Connects at once instead of at the end of the pause. */
  again(): void {
    this.attempt = 0;
    if (this.rfb === undefined && this.pending === undefined) void this.open();
  }

  private drop(): void {
    clearTimeout(this.timer);
    clearTimeout(this.check);
    this.timer = this.check = undefined;
    const [rfb, socket] = [this.pending, this.socket];
    if (this.rfb) this.events.losing(this.rfb);
    this.rfb = this.pending = this.socket = undefined;
    rfb?.disconnect();
    socket?.close();
  }

  private async open(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { workspace } = this;
    if (this.closed || this.opening || this.pending || workspace === undefined) return;
    this.opening = true;
    this.events.phase({ kind: "connecting", again: this.attempt > 0 });
    try {
      const ticket = await this.ticket(workspace);
      if (!this.stale(workspace)) this.attach(workspace, ticket);
    } catch (error) {
      if (!this.stale(workspace)) this.retry(error instanceof ApiError ? refusal(error.status, error.message) : ending(1006));
    } finally {
      this.opening = false;
      // The wish changed while the ticket was under way.
      if (this.stale(workspace)) void this.open();
    }
  }

  private stale(workspace: string): boolean {
    return this.closed || this.workspace !== workspace;
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
    socket.addEventListener("message", (event: MessageEvent<ArrayBuffer>) => {
      clearTimeout(this.check);
      this.check = undefined;
      this.events.bytes(event.data.byteLength);
    });
    const rfb = new RFB(this.target, socket, { shared: true });
    this.socket = socket;
    this.pending = rfb;
    // Who decides the size is `Fit`'s to know, and input waits until it is granted.
    rfb.resizeSession = false;
    rfb.viewOnly = true;
    rfb.focusOnClick = true;
    rfb.background = "transparent";
    this.events.made(rfb);
    this.expect(socket, HELLO_MS);
    rfb.addEventListener("connect", () => {
      if (this.pending !== rfb) return;
      this.attempt = 0;
      this.rfb = rfb;
      this.events.phase({ kind: "live" });
    });
    rfb.addEventListener("disconnect", () => {
      if (this.pending !== rfb) return;
      if (this.rfb) this.events.losing(rfb);
      this.rfb = this.pending = this.socket = undefined;
      clearTimeout(this.check);
      this.check = undefined;
      if (!this.stale(workspace)) this.retry(ending(code));
    });
    rfb.addEventListener("clipboard", ({ detail }) => this.events.clipboard(detail.text));
    rfb.addEventListener("clippingviewport", ({ detail }) => this.events.clipping(detail));
  }

  private retry(how: Ending): void {
    const wait = pause(how.again, this.attempt, Math.random());
    this.attempt += 1;
    if (wait !== undefined) this.timer = setTimeout(() => void this.open(), wait);
    this.events.phase({ kind: "waiting", ending: how, wait });
  }

  /**
   * After the computer slept or changed its network the browser may hold a connection whose other end is long gone. One pixel is asked for:
   * FramebufferUpdateRequest, not incremental, 1×1 (RFC 6143 §7.5.3), which a server always answers.
   */
  verify(): void {
    const { socket } = this;
    if (!this.rfb || !socket || this.check !== undefined || socket.readyState !== WebSocket.OPEN) return;
    socket.send(new Uint8Array([3, 0, 0, 0, 0, 0, 0, 1, 0, 1]));
    this.expect(socket, ANSWER_MS);
  }

  private expect(socket: WebSocket, within: number): void {
    clearTimeout(this.check);
    this.check = setTimeout(() => {
      this.check = undefined;
      if (this.socket !== socket) return;
      this.drop();
      this.retry(ending(1006));
    }, within);
  }
}
