// Keeps the model of one Session fresh: the console's event stream, and a whole answer each time the stream opens.

import { api, ApiError } from "./api.ts";
import { backoff } from "./format.ts";
import { applyChange, applyEvent, emptyModel, reset, type Model } from "./model.ts";
import type { ObjectChange, RunnerEvent } from "./types.ts";

export interface FeedEvents {
  changed: (model: Model) => void;
  /** Whether the stream is up. */
  online: (yes: boolean) => void;
  failed: (error: unknown) => void;
  /** There is no such Session, or not any more. */
  missing: () => void;
  signedOut: () => void;
}

export class Feed {
  model: Model = emptyModel();
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private frame = 0;
  private closed = false;
  private readonly wake = (): void => {
    if (this.source === undefined) this.connect();
  };

  constructor(
    private readonly namespace: string,
    private readonly name: string,
    private readonly events: FeedEvents,
  ) {
    window.addEventListener("online", this.wake);
    void this.load();
    this.connect();
  }

  close(): void {
    this.closed = true;
    window.removeEventListener("online", this.wake);
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    this.source?.close();
  }

  /** Asks for everything; used whenever changes may have been missed. */
  async load(): Promise<void> {
    try {
      const detail = await api.detail(this.namespace, this.name);
      this.set(reset(this.model, detail));
    } catch (error) {
      if (this.closed) return;
      if (error instanceof ApiError && error.status === 401) this.events.signedOut();
      else if (error instanceof ApiError && error.status === 404) this.events.missing();
      else this.events.failed(error);
    }
  }

  private connect(): void {
    clearTimeout(this.timer);
    if (this.closed) return;
    const { last } = this.model.live;
    const source = new EventSource(api.eventsUrl(this.namespace, this.name, last.epoch < 0 ? undefined : `${last.epoch}.${last.seq}`));
    this.source = source;
    source.addEventListener("open", () => {
      // The first load runs already; later ones fill the gap.
      if (this.attempt > 0) void this.load();
      this.attempt = 0;
      this.events.online(true);
    });
    source.addEventListener("object", (event: MessageEvent<string>) => {
      this.set(applyChange(this.model, JSON.parse(event.data) as ObjectChange));
    });
    source.addEventListener("runner", (event: MessageEvent<string>) => {
      this.set(applyEvent(this.model, JSON.parse(event.data) as RunnerEvent));
    });
    source.addEventListener("error", () => {
      // The browser's own retry gives up on some answers and knows no backoff.
      source.close();
      if (this.source !== source || this.closed) return;
      this.source = undefined;
      this.events.online(false);
      this.timer = setTimeout(() => this.connect(), backoff(this.attempt, Math.random()));
      this.attempt += 1;
      // A stream does not say why it was refused; this answer does (and ends an expired sign-in).
      if (this.attempt === 3) void this.load();
    });
  }

  private set(model: Model): void {
    if (model === this.model || this.closed) return;
    this.model = model;
    // Many changes, one redraw.
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.events.changed(this.model);
    });
  }
}
