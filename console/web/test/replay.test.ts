// A recording: the archive, the stream in it, and the line of time.

import { describe, expect, it } from "vitest";
import { Channel } from "../src/replay/channel.ts";
import { records, stream } from "../src/replay/fbs.ts";
import { TarReader, type Entry } from "../src/replay/tar.ts";
import { clockWords, markAt, marks, nearestSnapshot, place, readIndex, timeline, type Index } from "../src/replay/timeline.ts";
import type { Snapshot } from "../src/types.ts";
import { message, meta } from "./objects.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function header(name: string, size: number, type = "0"): Uint8Array {
  const block = new Uint8Array(512);
  const put = (at: number, text: string): void => block.set(utf8(text), at);
  put(0, name);
  put(100, "0000644\0");
  put(124, `${size.toString(8).padStart(11, "0")}\0`);
  put(148, "        ");
  put(156, type);
  put(257, "ustar\x0000");
  put(148, `${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
  return block;
}

function join(...parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function tar(...files: [string, Uint8Array, string?][]): Uint8Array {
  return join(...files.flatMap(([name, data, type]) => [header(name, data.length, type), data, new Uint8Array((512 - (data.length % 512)) % 512)]), new Uint8Array(1024));
}

function read(archive: Uint8Array, piece: number): { entries: Entry[]; complete: boolean } {
  const reader = new TarReader();
  const entries: Entry[] = [];
  for (let at = 0; at < archive.length; at += piece) entries.push(...reader.push(archive.slice(at, at + piece)));
  return { entries, complete: reader.complete };
}

describe("the archive", () => {
  const archive = tar(["index.json", utf8("{}")], ["folder/", new Uint8Array(0), "5"], ["000.fbs", utf8("x".repeat(1500))], ["empty", new Uint8Array(0)], ["./001.fbs", utf8("end")]);

  it("is read the same however it is cut", () => {
    const whole = read(archive, archive.length);
    expect(whole.entries.map(({ name, data }) => [name, data.length])).toEqual([["index.json", 2], ["000.fbs", 1500], ["empty", 0], ["001.fbs", 3]]);
    expect(whole.complete).toBe(true);
    for (const piece of [1, 7, 511, 512, 513, 2000]) expect(read(archive, piece)).toEqual(whole);
  });

  it("that was cut off gives what is whole, and says that it is not", () => {
    const { entries, complete } = read(archive.slice(0, 2000), 100);
    expect(entries.map(({ name }) => name)).toEqual(["index.json"]);
    expect(complete).toBe(false);
  });

  it("that is none is refused", () => {
    expect(() => new TarReader().push(utf8("<html>".repeat(200)))).toThrow(/no tar/);
    const damaged = archive.slice();
    damaged[3] = 0;
    expect(() => new TarReader().push(damaged)).toThrow(/no tar/);
  });
});

function record(at: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + Math.ceil(data.length / 4) * 4 + 4);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(data, 4);
  view.setUint32(out.length - 4, at);
  return out;
}

const hello = join(utf8("RFB 003.008\n"), new Uint8Array([1, 1, 0, 0, 0, 0]), new Uint8Array(20), new Uint8Array([0, 0, 0, 4]), utf8("desk"));

describe("a segment", () => {
  it("is split into its records", () => {
    const file = join(utf8("FBS 001.000\n"), record(0, utf8("abcde")), record(40, utf8("")), record(39, utf8("xyz!")));
    expect(records(file).map(({ at, data }) => [at, new TextDecoder().decode(data)])).toEqual([[0, "abcde"], [40, ""], [40, "xyz!"]]);
  });

  it("whose end is missing gives what is whole", () => {
    const file = join(utf8("FBS 001.000\n"), record(0, utf8("abcd")), record(9, utf8("efgh")));
    for (let cut = 1; cut < 16; cut += 1) expect(records(file.slice(0, -cut)).length).toBe(cut <= 12 ? 1 : 0);
    expect(records(file).length).toBe(2);
  });

  it("of another kind is refused", () => {
    expect(() => records(utf8("FBS 002.000\n"))).toThrow(/FBS 001/);
  });

  it("gives the handshake apart from the picture, in however many records it came", () => {
    const pixels = utf8("picture");
    const all = join(hello, pixels);
    for (const cut of [3, 12, 14, 30, hello.length, hello.length + 2]) {
      const { hello: first, chunks } = stream(join(utf8("FBS 001.000\n"), record(1, all.slice(0, cut)), record(2, all.slice(cut)), record(30, utf8("more"))));
      expect(first, String(cut)).toEqual(hello);
      expect(new TextDecoder().decode(join(...chunks.map(({ data }) => data)))).toBe("picturemore");
      expect(chunks.at(-1)?.at).toBe(30);
    }
    expect(() => stream(join(utf8("FBS 001.000\n"), record(0, hello.slice(0, 20))))).toThrow(/handshake/);
  });
});

const T = Date.parse("2026-03-01T10:00:00Z");
const time = (seconds: number): string => new Date(T + seconds * 1000).toISOString();
const index: Index = {
  version: 1, width: 1280, height: 800, turn: 2,
  segments: [
    { file: "001.fbs", start: time(60.5), millis: 30_000, bytes: 1 },
    { file: "000.fbs", start: time(0), millis: 60_000, bytes: 1 },
    { file: "002.fbs", start: time(150), millis: 10_000, bytes: 1 },
  ],
  actions: [{ at: time(70), who: "agent", what: "click 10,20" }, { at: time(5), who: "person", what: "type" }, { at: time(900), who: "agent", what: "long after" }],
  gaps: [{ from: time(91), to: time(120), why: "private" }],
};

describe("the line of time", () => {
  const line = timeline(index);

  it("has the segments in order, and the gaps that were named", () => {
    expect(line.start).toBe(T);
    expect(line.length).toBe(160_000);
    expect(line.segments.map(({ file, from, to }) => [file, from, to])).toEqual([["000.fbs", 0, 60_000], ["001.fbs", 60_500, 90_500], ["002.fbs", 150_000, 160_000]]);
    expect(line.gaps).toEqual([{ from: 91_000, to: 120_000, why: "private" }]);
  });

  it("names a hole that the index does not name, and none between two segments that follow each other", () => {
    expect(timeline({ ...index, gaps: [] }).gaps).toEqual([{ from: 90_500, to: 150_000, why: "not recorded" }]);
  });

  it("of nothing is empty", () => {
    const nothing = timeline({ ...index, segments: [] });
    expect([nothing.length, nothing.segments]).toEqual([0, []]);
    expect(place(nothing, 0)).toBeUndefined();
  });

  it("is played from the segment that holds the moment", () => {
    expect(place(line, 0)).toEqual({ segment: 0, offset: 0, at: 0 });
    expect(place(line, 59_999)).toEqual({ segment: 0, offset: 59_999, at: 59_999 });
    expect(place(line, 70_000)).toEqual({ segment: 1, offset: 9500, at: 70_000 });
    expect(place(line, -5)).toEqual({ segment: 0, offset: 0, at: 0 });
    expect(place(line, 1e9)).toEqual({ segment: 2, offset: 10_000, at: 160_000 });
  });

  it("skips gaps to what follows them", () => {
    expect(place(line, 60_200)).toEqual({ segment: 1, offset: 0, at: 60_500 });
    expect(place(line, 100_000)).toEqual({ segment: 2, offset: 0, at: 150_000 });
  });

  it("carries what was done and what was said in that turn", () => {
    const said = [
      message("a", "User", "go", { turn: 2, at: time(-3) }), message("b", "Agent", "done", { turn: 2, at: time(80) }),
      message("c", "User", "earlier", { turn: 1, at: time(10) }), message("d", "User", "", { turn: 2, at: time(20) }),
    ];
    const all = marks(line, index, said);
    expect(all.map(({ at, kind, text }) => [at, kind, text])).toEqual([[0, "message", "go"], [5000, "person", "type"], [70_000, "agent", "click 10,20"], [80_000, "message", "done"]]);
    expect(markAt(all, 69_999)?.text).toBe("type");
    expect(markAt(all, 70_000)?.text).toBe("click 10,20");
    expect(markAt(all.slice(1), 10)).toBeUndefined();
  });

  it("has at its beginning what the agent did just before the first picture", () => {
    const actions: Index["actions"] = [{ at: time(-0.006), who: "agent", what: "launch terminal" }, { at: time(-60), who: "agent", what: "long before" }];
    const all = marks(line, { ...index, actions }, [message("a", "User", "go", { turn: 2, at: time(-3) })]);
    expect(all.map(({ at, text }) => [at, text])).toEqual([[0, "go"], [0, "launch terminal"]]);
    expect(markAt(all, 0)?.text).toBe("launch terminal");
  });

  it("is told as minutes and seconds", () => {
    expect([0, 65_000, 3_725_000].map(clockWords)).toEqual(["0:00", "1:05", "1:02:05"]);
  });
});

describe("the index", () => {
  it("is read, or refused with the reason", () => {
    expect(readIndex(JSON.stringify(index)).turn).toBe(2);
    expect(() => readIndex(JSON.stringify({ ...index, version: 2 }))).toThrow(/version/);
    expect(() => readIndex(JSON.stringify({ ...index, segments: [{ file: "x", start: "yesterday", millis: 1, bytes: 1 }] }))).toThrow(/damaged/);
    expect(() => readIndex("null")).toThrow(/version/);
  });
});

describe("the Snapshot to fork from", () => {
  const snapshot = (name: string, seconds: number, ready = true): Snapshot => ({
    metadata: meta(name), spec: { workspace: "w" }, status: { takenAt: time(seconds), conditions: [{ type: "Ready", status: ready ? "True" : "False", reason: "x", message: "" }] },
  });
  const all = [snapshot("late", 100), snapshot("early", 0), snapshot("broken", 50, false), snapshot("middle", 40)];

  it("is the newest usable one at or before the moment", () => {
    expect(nearestSnapshot(all, T + 60_000)?.metadata.name).toBe("middle");
    expect(nearestSnapshot(all, T + 40_000)?.metadata.name).toBe("middle");
    expect(nearestSnapshot(all, T + 39_999)?.metadata.name).toBe("early");
    expect(nearestSnapshot(all, T + 1e6)?.metadata.name).toBe("late");
  });

  it("is none before the first one, and none of a recording without a time", () => {
    expect(nearestSnapshot(all, T - 1)).toBeUndefined();
    expect(nearestSnapshot(all, NaN)).toBeUndefined();
  });
});

describe("the channel", () => {
  it("has what noVNC looks for on the object itself", () => {
    const channel = new Channel();
    const names = [...Object.keys(channel), ...Object.getOwnPropertyNames(Object.getPrototypeOf(channel) as object)];
    for (const name of ["send", "close", "binaryType", "onerror", "onmessage", "onopen", "protocol", "readyState"]) expect(names).toContain(name);
  });

  it("waits for noVNC only when much was given", async () => {
    const channel = new Channel();
    let got = 0;
    channel.onmessage = ({ data }) => (got += data.byteLength);
    await channel.give(new Uint8Array(10));
    let done = false;
    const big = channel.give(new Uint8Array(2_000_000)).then(() => (done = true));
    await Promise.resolve();
    expect(done).toBe(false);
    channel.send();
    await big;
    expect(got).toBe(2_000_010);
  });

  it("gives nothing once it is closed", async () => {
    const channel = new Channel();
    let closed = 0;
    channel.onclose = () => (closed += 1);
    channel.onmessage = () => expect.fail("closed");
    channel.close();
    channel.close();
    await channel.give(new Uint8Array(1));
    expect(closed).toBe(1);
  });
});
