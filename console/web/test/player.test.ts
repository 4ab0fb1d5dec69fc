// @vitest-environment jsdom
// The player of recordings, without its picture.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { recording } from "../dev/recording.ts";
import { emptyModel } from "../src/model.ts";

const shown = vi.fn(() => Promise.resolve(true));
vi.mock("../src/replay/deck.ts", () => ({ Deck: class { show = shown; advance = (): Promise<void> => Promise.resolve(); close(): void { /* nothing */ } } }));
vi.mock("../src/replay/fbs.ts", () => ({ stream: () => ({ hello: new Uint8Array(), chunks: [] }) }));

const { play } = await import("../src/view/player.ts");

const archive = new Uint8Array(recording(Date.UTC(2026, 10, 22, 12)));

/** Opens the player; the archive comes in pieces of so many bytes. */
function open(piece: number): void {
  const body = new ReadableStream<Uint8Array>({
    start(stream) {
      for (let at = 0; at < archive.length; at += piece) stream.enqueue(archive.slice(at, at + piece));
      stream.close();
    },
  });
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(body)));
  play({ namespace: "team", object: "s-recording-turn-1-v1", title: "Recording of turn 1", file: "turn-1.tar", readOnly: false, model: emptyModel });
}

beforeEach(() => {
  shown.mockClear();
  // jsdom has dialogs that do not open, and blobs that cannot be read.
  HTMLDialogElement.prototype.showModal = function showModal(): void { this.open = true; };
  HTMLDialogElement.prototype.close = function close(): void { this.dispatchEvent(new Event("close")); };
  Blob.prototype.arrayBuffer = () => Promise.resolve(new ArrayBuffer(0));
});
afterEach(() => {
  document.querySelectorAll("dialog").forEach((one) => one.close());
  vi.unstubAllGlobals();
});

const notice = (): HTMLElement | null => document.querySelector("[data-testid=replay-notice]");

it.each([archive.length, 64 * 1024])("the first picture is there once the recording is, also if it comes in pieces of %i bytes", async (piece) => {
  open(piece);
  await vi.waitFor(() => expect(shown).toHaveBeenCalled());
  await vi.waitFor(() => expect(notice()?.hidden).toBe(true));
});
