// A recorded RFB stream: FBS 001.000, as rfbproxy made it first. Twelve bytes of magic, then records: u32 length, data padded to a multiple of
// four, u32 milliseconds since the start; all big-endian. Pure.

export interface Chunk {
  /** Milliseconds since the start of the segment. */
  at: number;
  data: Uint8Array;
}

export interface Stream {
  /** The handshake up to and with ServerInit (RFC 6143 §7.1 to §7.3.2): noVNC takes it before it takes anything else. */
  hello: Uint8Array;
  /** What follows. */
  chunks: Chunk[];
}

const MAGIC = "FBS 001.000\n";

/** Splits the file into its records. What a recorder that died left half written is left out. */
export function records(file: Uint8Array): Chunk[] {
  if (new TextDecoder("latin1").decode(file.subarray(0, MAGIC.length)) !== MAGIC) throw new Error("The segment is not in the format FBS 001.000.");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const found: Chunk[] = [];
  let at = MAGIC.length;
  while (at + 4 <= file.length) {
    const length = view.getUint32(at);
    const end = at + 4 + Math.ceil(length / 4) * 4;
    if (end + 4 > file.length) break;
    const last = found.at(-1)?.at ?? 0;
    // A clock that was set back must not stop the picture.
    found.push({ at: Math.max(last, view.getUint32(end)), data: file.subarray(at + 4, at + 4 + length) });
    at = end + 4;
  }
  return found;
}

/** The records as a player wants them. */
export function stream(file: Uint8Array): Stream {
  const all = records(file);
  let hello = new Uint8Array(0);
  for (const [index, { at, data }] of all.entries()) {
    const more = new Uint8Array(hello.length + data.length);
    more.set(hello);
    more.set(data, hello.length);
    hello = more;
    const length = handshake(hello);
    if (length !== undefined && hello.length >= length) {
      const rest = hello.subarray(length);
      return { hello: hello.subarray(0, length), chunks: [...(rest.length > 0 ? [{ at, data: rest }] : []), ...all.slice(index + 1)] };
    }
  }
  throw new Error("The segment does not begin with a whole handshake.");
}

/** Length of version, security types, result and ServerInit; undefined while that cannot be told. */
function handshake(bytes: Uint8Array): number | undefined {
  const types = bytes[12];
  if (types === undefined) return undefined;
  // SecurityResult, then ServerInit: 20 bytes of size and pixel format, and the length of the name.
  const name = 12 + 1 + types + 4 + 20;
  if (bytes.length < name + 4) return undefined;
  return name + 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(name);
}
