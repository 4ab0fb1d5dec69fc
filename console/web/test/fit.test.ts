// @vitest-environment jsdom
// Who makes the desktop as large as their window, and when.

import type RFB from "@novnc/novnc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Fit } from "../src/view/desktop/fit.ts";

/** Counts how often it is asked for a size. */
class Asked {
  count = 0;
  set resizeSession(yes: boolean) {
    if (yes) this.count++;
  }
  get rfb(): RFB {
    return this as unknown as RFB;
  }
}

function storage(held: string | null): { getItem: () => string | null; setItem: (key: string, value: string) => void; held: string | null } {
  return {
    held,
    getItem() {
      return this.held;
    },
    setItem(_key: string, value: string) {
      this.held = value;
    },
  };
}

describe("the size of the desktop", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("is its own until the person wants it to follow the window, and that is remembered", () => {
    const kept = storage(null);
    const fit = new Fit(document.createElement("div"), kept);
    const desktop = new Asked();
    fit.use(desktop.rfb);
    vi.runAllTimers();
    expect(desktop.count).toBe(0);
    fit.want(true);
    vi.runAllTimers();
    expect(desktop.count).toBe(1);
    expect(new Fit(document.createElement("div"), kept).wanted).toBe(true);
  });

  it("is asked for once when a window that is dragged comes to rest", () => {
    const fit = new Fit(document.createElement("div"), storage("window"));
    const desktop = new Asked();
    fit.use(desktop.rfb);
    for (let frame = 0; frame < 60; frame++) {
      fit.follow();
      vi.advanceTimersByTime(16);
    }
    expect(desktop.count).toBe(0);
    vi.runAllTimers();
    expect(desktop.count).toBe(1);
  });

  it("is never asked for by who does not control it", () => {
    const fit = new Fit(document.createElement("div"), storage("window"));
    const desktop = new Asked();
    fit.use(desktop.rfb);
    fit.use(undefined);
    fit.follow();
    vi.runAllTimers();
    expect(desktop.count).toBe(0);
  });
});
