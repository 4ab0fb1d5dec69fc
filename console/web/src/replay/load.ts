// Brings a recording in: the archive is read as it arrives, so that its beginning can be played while the rest is still coming.

import { TarReader } from "./tar.ts";
import { readIndex, type Index } from "./timeline.ts";

/** Media type of the Artifacts that are recordings. */
export const RECORDING = "application/vnd.a8s.recording+tar";

export interface LoadEvents {
  index: (index: Index) => void;
  /** A segment is whole. */
  segment: (file: string) => void;
  /** Bytes so far, and of how many as far as that is known. */
  progress: (bytes: number, of: number | undefined) => void;
}

export class Recording {
  /** Blobs: a browser keeps large ones on disk. */
  private readonly segments = new Map<string, Blob>();

  /** The bytes of a segment, or undefined if it has not come yet. */
  async segment(file: string): Promise<Uint8Array | undefined> {
    const blob = this.segments.get(file);
    return blob && new Uint8Array(await blob.arrayBuffer());
  }

  /** Reads to the end. Throws what went wrong, in words. */
  async load(url: string, events: LoadEvents, signal: AbortSignal): Promise<void> {
    const answer = await fetch(url, { credentials: "same-origin", signal });
    if (!answer.ok || !answer.body) throw new Error(`The recording cannot be read: ${answer.status === 404 ? "its content is not stored (any more)" : `the console answered ${answer.status}`}.`);
    const length = Number(answer.headers.get("content-length")) || undefined;
    const tar = new TarReader();
    const reader = answer.body.getReader();
    let [bytes, known] = [0, false];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
      for (const { name, data } of tar.push(value)) {
        if (name === "index.json") {
          known = true;
          events.index(readIndex(new TextDecoder().decode(data)));
        } else {
          this.segments.set(name, new Blob([data.slice()]));
          events.segment(name);
        }
      }
      events.progress(bytes, length);
    }
    if (!known) throw new Error("The recording has no index.");
    if (!tar.complete) throw new Error("The recording ends too early; what is there can be played.");
  }
}
