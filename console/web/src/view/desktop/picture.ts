// The last picture of a desktop that is not there at the moment, dimmed, until the next connection has drawn something.

import type RFB from "@novnc/novnc";
import { h } from "../../dom.ts";

/** After this time the new picture is shown, even if it is all black. */
const LONGEST_MS = 3000;

export class Picture {
  readonly element = h("canvas", { class: "frozen", "aria-hidden": "true" });
  private round = 0;

  /** Keeps what the live desktop shows. */
  keep(rfb: RFB): void {
    this.round += 1;
    try {
      const picture = rfb.getImageData();
      this.element.width = picture.width;
      this.element.height = picture.height;
      this.element.getContext("2d")?.putImageData(picture, 0, 0);
    } catch {
      // There never was a picture.
    }
  }

  /** Calls back once the canvas in `target` shows something. */
  drawn(target: HTMLElement, then: () => void): void {
    this.round += 1;
    const { round } = this;
    const until = performance.now() + LONGEST_MS;
    const probe = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
    const look = (): void => {
      if (this.round !== round) return;
      const canvas = target.querySelector("canvas");
      if (probe && canvas && canvas.width > 0) {
        probe.drawImage(canvas, 0, 0, 8, 8);
        const drawn = probe.getImageData(0, 0, 8, 8).data.some((value, at) => at % 4 !== 3 && value > 0);
        if (drawn || performance.now() > until) {
          then();
          return;
        }
      }
      requestAnimationFrame(look);
    };
    look();
  }
}
