// The desktop's helpers: why a stream ended, how good its picture is, which keys are held.

import { describe, expect, it } from "vitest";
import { ending, pause, refusal } from "../src/live/closes.ts";
import { functionKey, KEYS, keysymOf, MODIFIERS, typed } from "../src/live/keysyms.ts";
import { latencyWords, smooth } from "../src/live/meter.ts";
import { AUTO, CHOICES, follow, knobs, remember, remembered, words, type Auto, type Sample } from "../src/live/quality.ts";
import { letGo, touch, used } from "../src/live/sticky.ts";

/** Every code that the proxy sends (console/vnc-proxy/src/close.rs). */
const CODES = [1003, 1008, 1011, 1012, 1013, 4401, 4403, 4404, 4408, 4409, 4410, 4423, 4429];

describe("the end of a stream", () => {
  it("is told in words of its own for each code of the proxy", () => {
    const lost = ending(1006).why;
    expect(new Set(CODES.map((code) => ending(code).why)).size).toBe(CODES.length);
    for (const code of CODES) expect(ending(code).why, String(code)).not.toBe(lost);
  });

  it("is followed by a new attempt at once when the proxy restarts, but only once at once", () => {
    expect(pause(ending(1012).again, 0, 0.5)).toBe(0);
    expect(pause(ending(1012).again, 1, 0.5)).toBeGreaterThan(0);
  });

  it("is not followed by hasty attempts when only a person can change it", () => {
    for (const code of [4403, 4404, 4423, 4429]) expect(pause(ending(code).again, 0, 0), String(code)).toBeGreaterThanOrEqual(20_000);
    expect(pause(refusal(403, "no").again, 0, 0)).toBeGreaterThanOrEqual(20_000);
    expect(pause(refusal(503, "down").again, 0, 0)).toBeLessThan(1000);
  });

  it("is followed by no attempt at all when the person went on in another window", () => {
    expect(pause(ending(4409).again, 0, 0.5)).toBeUndefined();
  });

  it("is told without a full stop, because a sentence goes on after it", () => {
    expect(refusal(503, "The proxy does not answer. ").why).toBe("The proxy does not answer");
    for (const code of CODES) expect(ending(code).why).not.toMatch(/\.$/);
  });
});

describe("the quality", () => {
  const run = (sample: Sample, times: number, from: Auto = AUTO): Auto => Array.from({ length: times }).reduce<Auto>((auto) => follow(auto, sample), from);
  const good = { rtt: 12, rate: 200_000 };
  const far = { rtt: 220, rate: 200_000 };

  it("stays high on a short way and goes down on a long one", () => {
    expect(run(good, 20).level).toBe("High");
    expect(run(far, 2).level).toBe("Medium");
    expect(run({ rtt: 900, rate: 10_000 }, 4).level).toBe("Low");
  });

  it("does not change for one bad look", () => {
    expect(run(good, 1, run(far, 1, run(good, 5))).level).toBe("High");
  });

  it("goes up later than it goes down", () => {
    const down = run(far, 2, run(good, 3));
    expect(down.level).toBe("Medium");
    expect(run(good, 5, down).level).toBe("Medium");
    expect(run(good, 6, down).level).toBe("High");
  });

  it("stays where it is on a way that lies between two levels", () => {
    const between = { rtt: 130, rate: 10_000 };
    expect(run(between, 50, { ...AUTO, level: "High", base: 125 }).level).toBe("High");
    expect(run(between, 50, { ...AUTO, level: "Medium", base: 125 }).level).toBe("Medium");
  });

  it("goes down when the picture itself fills the way, and not for a slow way without a picture", () => {
    const start = run(good, 3);
    expect(run({ rtt: 140, rate: 400_000 }, 4, start).level).toBe("Low");
    expect(run({ rtt: 140, rate: 1000 }, 4, start).level).toBe("High");
  });

  it("is low while nothing answers", () => {
    expect(run({ rtt: undefined, rate: 0 }, 4).level).toBe("Low");
  });

  it("asks for better pictures at each higher level", () => {
    const levels = (["Low", "Medium", "High", "Lossless"] as const).map((level) => knobs(level).qualityLevel);
    expect(levels).toEqual([...levels].sort((a, b) => a - b));
    expect(new Set(levels).size).toBe(4);
  });

  it("is remembered, and Auto where nothing is or where it makes no sense", () => {
    const held = new Map<string, string>();
    const storage = { getItem: (key: string) => held.get(key) ?? null, setItem: (key: string, value: string) => void held.set(key, value) };
    expect(remembered(storage)).toBe("Auto");
    for (const choice of CHOICES) {
      remember(storage, choice);
      expect(remembered(storage)).toBe(choice);
      expect(words(choice)).not.toBe("");
    }
    expect(remembered({ getItem: () => "Best" })).toBe("Auto");
    const denied = { getItem: () => { throw new Error("denied"); }, setItem: () => { throw new Error("denied"); } };
    remember(denied, "Low");
    expect(remembered(denied)).toBe("Auto");
  });
});

describe("the latency", () => {
  it("is shown as people say it", () => {
    expect([undefined, 0.3, 12.4, 950, 1400].map(latencyWords)).toEqual(["", "1 ms", "12 ms", "950 ms", "1.4 s"]);
  });

  it("follows a lasting change within a few looks and a hiccup only in part", () => {
    expect(smooth(undefined, 40)).toBe(40);
    expect(smooth(40, 50)).toBeCloseTo(43);
    let shown = 10;
    for (let at = 0; at < 5; at += 1) shown = smooth(shown, 200);
    expect(shown).toBeGreaterThan(150);
  });
});

describe("the keys on the screen", () => {
  it("are keysyms as X has them", () => {
    expect(keysymOf("a")).toBe(0x61);
    expect(keysymOf("ä")).toBe(0xe4);
    expect(keysymOf("€")).toBe(0x010020ac);
    expect(keysymOf("😀")).toBe(0x0101f600);
    expect(keysymOf("\n")).toBe(KEYS.Enter.keysym);
    expect(functionKey(1)).toEqual({ keysym: 0xffbe, code: "F1" });
    expect(functionKey(12)).toEqual({ keysym: 0xffc9, code: "F12" });
  });

  it("hold a modifier for one key, or until it is touched again", () => {
    const once = touch({}, "Ctrl");
    expect(once).toEqual({ held: { Ctrl: "once" }, press: ["Ctrl"], release: [] });
    expect(used(once.held)).toEqual({ held: {}, press: [], release: ["Ctrl"] });
    const locked = touch(once.held, "Ctrl");
    expect(locked).toEqual({ held: { Ctrl: "locked" }, press: [], release: [] });
    expect(used(locked.held).release).toEqual([]);
    expect(touch(locked.held, "Ctrl")).toEqual({ held: {}, press: [], release: ["Ctrl"] });
  });

  it("let go of everything that is held, however it is held", () => {
    const both = touch(touch(touch({}, "Alt").held, "Alt").held, "Super").held;
    expect(letGo(both)).toEqual({ held: {}, press: [], release: ["Alt", "Super"] });
    expect(letGo({}).release).toEqual([]);
  });

  it("know every modifier, so that none stays pressed", () => {
    expect(MODIFIERS.length).toBe(9);
    for (const name of ["Ctrl", "Alt", "Super", "Shift"] as const) expect(MODIFIERS).toContainEqual(KEYS[name]);
  });

  it("tell what a touch keyboard changed", () => {
    expect(typed("hel", "hell")).toEqual({ erase: 0, text: "l" });
    expect(typed("hell", "hel")).toEqual({ erase: 1, text: "" });
    expect(typed("teh", "the ")).toEqual({ erase: 2, text: "he " });
    expect(typed("a😀", "a😃")).toEqual({ erase: 1, text: "😃" });
  });
});
