// Why the proxy ended a stream, in words, and what becomes of it. The codes are those of console/vnc-proxy/src/close.rs. Pure.

import { backoff } from "../format.ts";

export interface Ending {
  /** What happened. */
  why: string;
  /** What the person can do, if anything helps. */
  help?: string;
  /**
   * `now`: the way is free again already. `soon`: it may be any moment. `later`: only a person or the desktop's owner can change it, so it
   * is asked rarely, and a button asks at once. `never`: only the button asks; two windows would take each other's place without end.
   */
  again: "now" | "soon" | "later" | "never";
}

const ENDINGS: Readonly<Record<number, Ending>> = {
  1003: { why: "The proxy did not understand this page", help: "Reload the page; it may be older than the server.", again: "later" },
  1008: { why: "The proxy refused what this page sent", help: "Reload the page; it may be older than the server.", again: "later" },
  1011: { why: "The desktop does not answer", again: "soon" },
  1012: { why: "The proxy restarts", again: "now" },
  1013: { why: "The connection is too slow for the picture", help: "Choose a lower quality.", again: "soon" },
  4401: { why: "The permission to connect was too old", again: "now" },
  4403: { why: "You may no longer see this desktop", help: "Ask whoever manages this namespace.", again: "later" },
  4404: { why: "The workspace is gone", help: "A new message to the agent makes a new one.", again: "later" },
  4408: { why: "This page did not answer in time", again: "now" },
  4409: { why: "You opened this desktop in another window", help: "So many are open that the oldest gave way. Try now brings it back here.", again: "never" },
  4410: { why: "The desktop is not running", help: "Resume the session, or write to the agent.", again: "soon" },
  4423: { why: "Another person works here in private", help: "The picture comes back when they are done.", again: "later" },
  4429: { why: "Too many people watch this desktop", help: "Close another window that shows it, or wait.", again: "later" },
};

const LOST: Ending = { why: "The connection was lost", again: "soon" };

/** What a close code means. Every other code is a lost connection. */
export function ending(code: number): Ending {
  return ENDINGS[code] ?? LOST;
}

/** How often somebody who was sent away asks again, in milliseconds. */
const LATER_MS = 30_000;

/** Milliseconds until the next attempt; none if there is to be none. `random` is in [0, 1). */
export function pause(again: Ending["again"], attempt: number, random: number): number | undefined {
  if (again === "never") return undefined;
  if (again === "later") return LATER_MS * (0.75 + random / 2);
  return again === "now" && attempt === 0 ? 0 : backoff(attempt, random);
}

/** What a refused ticket means: the console says so by an HTTP status. */
export function refusal(status: number, message: string): Ending {
  const again = status === 403 || status === 404 || status === 423 || status === 429 ? "later" : "soon";
  return { why: message.replace(/[.\s]+$/, ""), again };
}
