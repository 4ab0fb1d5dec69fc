// A recording made of the mock desktop's picture, in the format of the real ones. Development only.

import { init, picture } from "./rfb.ts";

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

function segment(from: number, frames: number, every: number): Buffer {
  const hello = Buffer.concat([Buffer.from("RFB 003.008\n"), Buffer.from([1, 1]), u32(0), init()]);
  const parts: Buffer[] = [Buffer.from("FBS 001.000\n")];
  const put = (data: Buffer, at: number): void => void parts.push(u32(data.length), data, Buffer.alloc((4 - (data.length % 4)) % 4), u32(at));
  put(hello, 0);
  for (let frame = 0; frame < frames; frame += 1) put(picture(from + frame * 3, 0), frame * every);
  return Buffer.concat(parts);
}

function entry(name: string, data: Buffer): Buffer {
  const head = Buffer.alloc(512);
  head.write(name, 0);
  head.write("0000644\0", 100);
  head.write(`${data.length.toString(8).padStart(11, "0")}\0`, 124);
  head.write("        0", 148);
  head.write("ustar\x0000", 257);
  head.write(`${head.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([head, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** The archive of a turn that began at `start`, in milliseconds of the Unix epoch: two segments, and a private gap between them. */
export function recording(start: number): Buffer {
  const time = (seconds: number): string => new Date(start + seconds * 1000).toISOString();
  const segments = [{ from: 0, at: 0, frames: 8 }, { from: 40, at: 10, frames: 6 }].map((one, index) => ({ ...one, file: `00${index}.fbs`, data: segment(one.from, one.frames, 500) }));
  const index = {
    version: 1, width: 640, height: 400, turn: 1,
    segments: segments.map(({ file, at, frames, data }) => ({ file, start: time(at), millis: frames * 500, bytes: data.length })),
    actions: [{ at: time(1), who: "agent", what: "click 310,120" }, { at: time(2.500), who: "agent", what: "key Return" }, { at: time(11), who: "person", what: "click 12,390" }],
    gaps: [{ from: time(4), to: time(10), why: "private" }],
  };
  return Buffer.concat([entry("index.json", Buffer.from(JSON.stringify(index))), ...segments.map(({ file, data }) => entry(file, data)), Buffer.alloc(1024)]);
}
