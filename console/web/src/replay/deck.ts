// Shows one segment of a recording at a time: noVNC, fed from memory. To go back or elsewhere a new noVNC is filled out of sight and then takes
// the place of the old one, because a stream can only be played forward.

import RFB from "@novnc/novnc";
import { h } from "../dom.ts";
import { Channel } from "./channel.ts";
import type { Stream } from "./fbs.ts";

export class Deck {
  private target: HTMLElement | undefined;
  private channel: Channel | undefined;
  private rfb: RFB | undefined;
  private stream: Stream | undefined;
  private next = 0;
  private round = 0;

  constructor(private readonly host: HTMLElement) {}

  /** Shows a segment as it was `offset` milliseconds after its start. False if something else was asked for meanwhile. */
  async show(stream: Stream, offset: number): Promise<boolean> {
    this.round += 1;
    const { round } = this;
    const target = h("div", { class: "screen" });
    const channel = new Channel();
    this.host.prepend(target);
    const rfb = new RFB(target, channel, { shared: true });
    rfb.viewOnly = true;
    rfb.scaleViewport = true;
    rfb.background = "transparent";
    let [next, broken] = [0, false];
    rfb.addEventListener("disconnect", () => (broken = true));
    const gone = (): boolean => round !== this.round;
    try {
      await channel.give(stream.hello);
      while (!gone() && !broken) {
        const chunk = stream.chunks[next];
        if (!chunk || chunk.at > offset) break;
        await channel.give(chunk.data);
        next += 1;
      }
      // Pictures are decoded and drawn a moment later.
      await frame();
      await frame();
      if (broken && !gone()) throw new Error("The recording is damaged at this place.");
    } catch (error) {
      discard(rfb, target);
      throw error;
    }
    if (gone()) {
      discard(rfb, target);
      return false;
    }
    const [oldRfb, oldTarget] = [this.rfb, this.target];
    [this.rfb, this.target, this.channel, this.stream, this.next] = [rfb, target, channel, stream, next];
    if (oldRfb && oldTarget) discard(oldRfb, oldTarget);
    return true;
  }

  /** Plays on to a later offset of the same segment. */
  async advance(offset: number): Promise<void> {
    const { stream, channel, round } = this;
    while (stream && channel && round === this.round) {
      const chunk = stream.chunks[this.next];
      if (!chunk || chunk.at > offset) return;
      this.next += 1;
      await channel.give(chunk.data);
    }
  }

  close(): void {
    this.round += 1;
    if (this.rfb && this.target) discard(this.rfb, this.target);
    this.rfb = this.target = this.channel = this.stream = undefined;
  }
}

function discard(rfb: RFB, target: HTMLElement): void {
  rfb.disconnect();
  target.remove();
}

function frame(): Promise<void> {
  return new Promise((resolve) => requestAnimationFrame(() => resolve()));
}
