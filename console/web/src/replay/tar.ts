// Reads an uncompressed tar (POSIX.1-2001 ustar) as it arrives, one entry after the other. Pure.

export interface Entry {
  name: string;
  data: Uint8Array;
}

const BLOCK = 512;
/** Larger than any segment of a recording; a size beyond it is a broken archive. */
const LARGEST = 1 << 30;

export class TarReader {
  /** What came and was not used yet. */
  private chunks: Uint8Array[] = [];
  private length = 0;
  private header: { name: string; size: number; file: boolean } | undefined;
  private ended = false;

  /** Takes the next bytes and gives the entries that are whole by now. Throws for what is no tar. */
  push(chunk: Uint8Array): Entry[] {
    if (this.ended || chunk.length === 0) return [];
    this.chunks.push(chunk);
    this.length += chunk.length;
    const entries: Entry[] = [];
    for (;;) {
      if (this.header === undefined) {
        if (this.length < BLOCK) return entries;
        const block = this.take(BLOCK);
        if (block.every((byte) => byte === 0)) {
          // An empty block ends the archive; a second one follows and padding perhaps.
          this.ended = true;
          this.chunks = [];
          return entries;
        }
        this.header = parse(block);
      }
      const { name, size, file } = this.header;
      const padded = Math.ceil(size / BLOCK) * BLOCK;
      if (this.length < padded) return entries;
      const data = this.take(padded).subarray(0, size);
      if (file) entries.push({ name, data });
      this.header = undefined;
    }
  }

  /** Whether the archive came to its end, or at least between two entries. */
  get complete(): boolean {
    return this.ended || (this.header === undefined && this.length === 0);
  }

  private take(size: number): Uint8Array {
    const first = this.chunks[0];
    this.length -= size;
    if (first && first.length > size) {
      this.chunks[0] = first.subarray(size);
      return first.subarray(0, size);
    }
    const taken = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const chunk = this.chunks[0];
      if (!chunk) break;
      const part = chunk.subarray(0, size - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === chunk.length) this.chunks.shift();
      else this.chunks[0] = chunk.subarray(part.length);
    }
    return taken;
  }
}

function parse(block: Uint8Array): { name: string; size: number; file: boolean } {
  const sum = block.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  if (octal(block.subarray(148, 156)) !== sum) throw new Error("This is no tar archive, or it is damaged.");
  const size = number(block.subarray(124, 136));
  if (size > LARGEST) throw new Error("The archive has an entry that is too large.");
  const type = block[156] ?? 0;
  const prefix = text(block.subarray(257, 262)) === "ustar" ? text(block.subarray(345, 500)) : "";
  const name = text(block.subarray(0, 100));
  // `0` or NUL is a file; extended headers and folders are passed over.
  return { name: (prefix === "" ? name : `${prefix}/${name}`).replace(/^\.\//, ""), size, file: type === 0x30 || type === 0 };
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

function octal(field: Uint8Array): number {
  const value = Number.parseInt(text(field).trim() || "0", 8);
  return Number.isNaN(value) ? -1 : value;
}

/** Octal digits, or as GNU tar writes what is too large for them: big-endian with the highest bit set. */
function number(field: Uint8Array): number {
  if (((field[0] ?? 0) & 0x80) === 0) {
    const value = octal(field);
    if (value < 0) throw new Error("The archive has an entry without a size.");
    return value;
  }
  return field.reduce((total, byte, at) => total * 256 + (at === 0 ? byte & 0x7f : byte), 0);
}
