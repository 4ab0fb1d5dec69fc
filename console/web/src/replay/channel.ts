// Stands where noVNC expects a WebSocket, and plays a recorded stream into it. What noVNC sends goes nowhere; that it sends shows that it keeps
// up: it asks for the next update once one is drawn.

/** Bytes that are given to noVNC before it must have answered; its queue holds forty million. */
const AHEAD = 2_000_000;
/** A stream need not be such that noVNC answers it. */
const PATIENCE_MS = 120;

export class Channel {
  // noVNC looks for each of these on the object itself.
  binaryType = "arraybuffer";
  protocol = "";
  readyState = "open";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  private ahead = 0;
  private answered: (() => void) | undefined;

  send(): void {
    this.ahead = 0;
    this.answered?.();
  }

  close(): void {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.answered?.();
    this.onclose?.({ code: 1000, reason: "" });
  }

  /** Gives the bytes to noVNC, and waits while it is behind. */
  async give(data: Uint8Array): Promise<void> {
    if (this.readyState === "closed") return;
    this.ahead += data.length;
    // noVNC wants a buffer of its own.
    this.onmessage?.({ data: data.slice().buffer });
    if (this.ahead < AHEAD) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, PATIENCE_MS);
      this.answered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.answered = undefined;
    this.ahead = 0;
  }
}
