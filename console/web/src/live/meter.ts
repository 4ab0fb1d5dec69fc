// What the connection is like: the round trip to the console, and how much comes in. Browsers can neither send WebSocket pings nor see the
// server's, so the page asks for its own icon and takes the time between the request and the first byte of the answer.

import type { Sample } from "./quality.ts";

/** How often it is measured while the page is seen. */
const EVERY_MS = 4000;
/** After this time there is no answer. */
const PATIENCE_MS = 5000;
const PROBE = "/favicon.svg";

/** Smooths the number that people read: quick to follow a change, not every hiccup. */
export function smooth(held: number | undefined, next: number): number {
  return held === undefined ? next : held + (next - held) * (Math.abs(next - held) > held ? 0.6 : 0.3);
}

/** `3 ms`, `120 ms`, `1.4 s`. */
export function latencyWords(rtt: number | undefined): string {
  if (rtt === undefined) return "";
  return rtt >= 1000 ? `${(rtt / 1000).toFixed(1)} s` : `${Math.max(1, Math.round(rtt))} ms`;
}

/** Milliseconds of one round trip, as the browser's own clock of the request has it where it tells. */
async function roundTrip(signal: AbortSignal): Promise<number> {
  const url = new URL(PROBE, location.href);
  // An own address each time: the timing of just this request is found by it.
  url.searchParams.set("ping", String(Math.round(performance.now())));
  const began = performance.now();
  const answer = await fetch(url, { method: "HEAD", cache: "no-store", credentials: "same-origin", signal });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const took = performance.now() - began;
  const entry = performance.getEntriesByName(url.href).at(-1) as PerformanceResourceTiming | undefined;
  // Waiting for a free connection and making one is not the way's doing.
  const pure = entry ? entry.responseStart - entry.requestStart : 0;
  return pure > 0 ? pure : took;
}

export class Meter {
  private bytes = 0;
  private since = performance.now();
  private shown: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | undefined;

  /** `report` gets each look, and the smoothed round trip for people. */
  constructor(private readonly report: (sample: Sample, shown: number | undefined) => void) {}

  /** Counts what came in. */
  count(bytes: number): void {
    this.bytes += bytes;
  }

  start(): void {
    if (this.timer !== undefined || this.abort !== undefined) return;
    this.shown = undefined;
    this.bytes = 0;
    this.since = performance.now();
    this.timer = setTimeout(() => void this.look(), 300);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.abort?.abort();
    this.abort = undefined;
  }

  private async look(): Promise<void> {
    this.timer = undefined;
    const abort = new AbortController();
    this.abort = abort;
    const limit = setTimeout(() => abort.abort(), PATIENCE_MS);
    let rtt: number | undefined;
    try {
      if (!document.hidden) rtt = await roundTrip(abort.signal);
    } catch {
      rtt = undefined;
    } finally {
      clearTimeout(limit);
    }
    // Stopped meanwhile.
    if (this.abort !== abort) return;
    this.abort = undefined;
    if (!document.hidden) {
      const seconds = (performance.now() - this.since) / 1000;
      const rate = seconds > 0 ? this.bytes / seconds : 0;
      this.shown = rtt === undefined ? undefined : smooth(this.shown, rtt);
      this.report({ rtt, rate }, this.shown);
    }
    this.bytes = 0;
    this.since = performance.now();
    // A browser keeps a limited number of timings.
    performance.clearResourceTimings();
    this.timer = setTimeout(() => void this.look(), EVERY_MS);
  }
}
