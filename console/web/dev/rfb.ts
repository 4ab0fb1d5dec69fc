// A tiny VNC server over WebSocket with a moving picture, for looking at the page without a cluster. Development only.

import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";

const [WIDTH, HEIGHT] = [640, 400];

/** Answers the upgrade and serves the desktop. `paint` hears of input. */
export function serveDesktop(request: IncomingMessage, socket: Duplex, paint: () => number): void {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"] ?? ""}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: binary\r\n\r\n`);
  const send = (data: Buffer): void => {
    const head = data.length < 126 ? Buffer.from([0x82, data.length]) : Buffer.alloc(10);
    if (data.length >= 126) {
      head.writeUInt16BE(0x827f, 0);
      head.writeBigUInt64BE(BigInt(data.length), 2);
    }
    if (socket.writable) socket.write(Buffer.concat([head, data]));
  };
  let input = 0;
  let rfb = Buffer.alloc(0);
  let stage = 0;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  send(Buffer.from("RFB 003.008\n"));
  const take = (size: number): Buffer | undefined => {
    if (rfb.length < size) return undefined;
    const part = rfb.subarray(0, size);
    rfb = rfb.subarray(size);
    return part;
  };
  const step = (): boolean => {
    if (stage === 0) return take(12) !== undefined && (send(Buffer.from([1, 1])), (stage = 1), true);
    if (stage === 1) return take(1) !== undefined && (send(Buffer.alloc(4)), (stage = 2), true);
    if (stage === 2) return take(1) !== undefined && (send(init()), (stage = 3), true);
    const type = rfb[0];
    if (type === 0) return take(20) !== undefined;
    if (type === 2) return rfb.length >= 4 && take(4 + 4 * rfb.readUInt16BE(2)) !== undefined;
    if (type === 4) return take(8) !== undefined && ((input += 1), true);
    if (type === 5) return take(6) !== undefined && ((input += 1), true);
    if (type === 6) return rfb.length >= 8 && take(8 + Math.abs(rfb.readInt32BE(4))) !== undefined;
    if (type !== 3 || take(10) === undefined) return false;
    timers.add(setTimeout(() => send(picture(paint(), input)), 200));
    return true;
  };
  let frames = Buffer.alloc(0);
  socket.on("data", (data: Buffer) => {
    frames = Buffer.concat([frames, data]);
    for (;;) {
      if (frames.length < 6) break;
      let size = (frames[1] ?? 0) & 127;
      let at = 2;
      if (size === 126) [size, at] = [frames.readUInt16BE(2), 4];
      if (frames.length < at + 4 + size) break;
      const mask = frames.subarray(at, at + 4);
      const body = Buffer.from(frames.subarray(at + 4, at + 4 + size).map((b, i) => b ^ (mask[i % 4] ?? 0)));
      if (((frames[0] ?? 0) & 15) === 8) socket.end(Buffer.concat([Buffer.from([0x88, body.length]), body]));
      else rfb = Buffer.concat([rfb, body]);
      frames = frames.subarray(at + 4 + size);
    }
    while (step());
  });
  const stop = (): void => timers.forEach((t) => clearTimeout(t));
  socket.on("close", stop);
  socket.on("error", stop);
}

/** ServerInit. */
export function init(): Buffer {
  const head = Buffer.alloc(24 + 4);
  head.writeUInt16BE(WIDTH, 0);
  head.writeUInt16BE(HEIGHT, 2);
  Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]).copy(head, 4);
  head.writeUInt32BE(4, 20);
  head.write("mock", 24);
  return head;
}

/** A whole update of the picture. */
export function picture(tick: number, input: number): Buffer {
  const out = Buffer.alloc(16 + WIDTH * HEIGHT * 4);
  out.writeUInt16BE(1, 2);
  out.writeUInt16BE(WIDTH, 8);
  out.writeUInt16BE(HEIGHT, 10);
  const x0 = 40 + (tick % 40) * 4;
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1) {
      const window = x > x0 && x < x0 + 260 && y > 40 && y < 240;
      const text = window && y > 60 && y % 14 < 3 && (x * 7 + (y + tick) * 13) % 11 > 3 && x < x0 + 60 + ((y * 37 + input * 11) % 180);
      const [r, g, b] = text ? [190, 205, 240] : window ? [19, 24, 42] : y > 378 ? [13, 18, 36] : [10 + (x * 70) / WIDTH, 18 + (y * 80) / HEIGHT, 90 + (x * 100) / WIDTH - y / 8];
      out.writeUInt32LE((Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r), 16 + (y * WIDTH + x) * 4);
    }
  }
  return out;
}
