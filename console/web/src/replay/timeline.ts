// The time of a recording: its segments and gaps on one line, what happened when, and the Snapshot to go back to. Times on the line are
// milliseconds since its start. Pure.

import { isTrue, type Message, type Snapshot } from "../types.ts";

/** `index.json` of a recording. */
export interface Index {
  version: number;
  width: number;
  height: number;
  turn: number;
  segments: { file: string; start: string; millis: number; bytes: number }[];
  actions?: { at: string; who: "agent" | "person"; what: string }[];
  gaps?: { from: string; to: string; why: string }[];
}

export interface Span {
  from: number;
  to: number;
}

export interface Timeline {
  /** When the line begins, in milliseconds of the Unix epoch. */
  start: number;
  length: number;
  segments: (Span & { file: string })[];
  gaps: (Span & { why: string })[];
}

export interface Mark {
  at: number;
  kind: "agent" | "person" | "message";
  text: string;
}

/** A pause between two segments that is shorter is only the recorder connecting anew. */
const SEAM_MS = 2000;

/** Reads `index.json`. */
export function readIndex(text: string): Index {
  const index = JSON.parse(text) as Partial<Index> | null;
  if (index?.version !== 1) throw new Error("This recording is of a version that this page does not know. Reload the page, or download it.");
  if (!Array.isArray(index.segments) || !index.segments.every((one) => typeof one.file === "string" && !Number.isNaN(Date.parse(one.start)) && one.millis >= 0)) {
    throw new Error("The index of the recording is damaged.");
  }
  return index as Index;
}

/** The line of a recording. */
export function timeline(index: Index): Timeline {
  const starts = index.segments.map((one) => Date.parse(one.start));
  const start = Math.min(...starts, ...(starts.length === 0 ? [0] : []));
  const segments = index.segments
    .map((one) => ({ file: one.file, from: Date.parse(one.start) - start, to: Date.parse(one.start) - start + one.millis }))
    .sort((a, b) => a.from - b.from);
  const length = Math.max(0, ...segments.map((one) => one.to));
  const gaps = (index.gaps ?? [])
    .map((one) => ({ from: clamp(Date.parse(one.from) - start, length), to: clamp(Date.parse(one.to) - start, length), why: one.why }))
    .filter((one) => one.to > one.from);
  for (const [at, next] of segments.entries()) {
    const before = segments[at - 1];
    const hole = before && { from: before.to, to: next.from };
    if (hole && hole.to - hole.from > SEAM_MS && !gaps.some((gap) => gap.from < hole.to && gap.to > hole.from)) gaps.push({ ...hole, why: "not recorded" });
  }
  return { start, length, segments, gaps: gaps.sort((a, b) => a.from - b.from) };
}

function clamp(value: number, length: number): number {
  return Math.min(Math.max(value, 0), length);
}

/** Where to play for a place on the line: the segment, and the time within it. In a gap that is the beginning of what follows. */
export function place(line: Timeline, at: number): { segment: number; offset: number; at: number } | undefined {
  let found = line.segments.findLastIndex((one) => one.from <= at);
  if (found < 0) found = 0;
  let segment = line.segments[found];
  if (segment && at > segment.to && line.segments[found + 1]) {
    found += 1;
    segment = line.segments[found];
  }
  if (!segment) return undefined;
  const settled = Math.min(Math.max(at, segment.from), segment.to);
  return { segment: found, offset: settled - segment.from, at: settled };
}

/** What happened, in order: what the agent and people did on the desktop, and what was said in that turn. */
export function marks(line: Timeline, index: Index, messages: Iterable<Message>): Mark[] {
  const found: Mark[] = (index.actions ?? []).map((one) => ({ at: Date.parse(one.at) - line.start, kind: one.who === "person" ? "person" : "agent", text: one.what }));
  for (const { metadata, spec, status } of messages) {
    if ((status?.turn ?? spec.turn) !== index.turn || !spec.content) continue;
    found.push({ at: Date.parse(status?.at ?? metadata.creationTimestamp) - line.start, kind: "message", text: spec.content });
  }
  // What was said or done shortly before or after belongs to the ends of the line: the agent does not wait for the first picture.
  const near = (mark: Mark): boolean => mark.kind === "message" || (mark.at >= -SEAM_MS && mark.at <= line.length + SEAM_MS);
  return found
    .filter((mark) => Number.isFinite(mark.at) && near(mark))
    .sort((a, b) => a.at - b.at)
    .map((mark) => ({ ...mark, at: clamp(mark.at, line.length) }));
}

/** The mark that a place on the line is about: the last one before it. */
export function markAt(all: readonly Mark[], at: number): Mark | undefined {
  return all.findLast((mark) => mark.at <= at);
}

/** The newest usable Snapshot that was taken at or before that moment, in milliseconds of the Unix epoch. */
export function nearestSnapshot(snapshots: Iterable<Snapshot>, moment: number): Snapshot | undefined {
  let best: Snapshot | undefined;
  let bestAt = -Infinity;
  for (const snapshot of snapshots) {
    const taken = Date.parse(snapshot.status?.takenAt ?? snapshot.metadata.creationTimestamp);
    if (!isTrue(snapshot, "Ready") || !(taken <= moment) || taken <= bestAt) continue;
    best = snapshot;
    bestAt = taken;
  }
  return best;
}

/** `1:05`, `1:02:05`. */
export function clockWords(millis: number): string {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
