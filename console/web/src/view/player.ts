// Plays a recording of the desktop: what was seen, and on one line of time what the agent and people did, what was said, and where nothing was
// recorded. From any moment one can go on in a new Session.

import { api } from "../api.ts";
import { fill, h, icon, setText, visible } from "../dom.ts";
import { bytes, clock, duration } from "../format.ts";
import type { Model } from "../model.ts";
import { Deck } from "../replay/deck.ts";
import { stream } from "../replay/fbs.ts";
import { Recording } from "../replay/load.ts";
import { clockWords, markAt, marks, nearestSnapshot, place, timeline, type Index, type Mark, type Timeline } from "../replay/timeline.ts";
import { newSession } from "./new-session.ts";

const SPEEDS = [1, 2, 8] as const;
/** What the arrow keys move by. */
const STEP_MS = 1000;
const SPOKEN = { agent: "Agent", person: "Person", message: "Message" } as const;

export interface Source {
  namespace: string;
  /** Name of the Artifact object. */
  object: string;
  title: string;
  file: string;
  readOnly: boolean;
  model: () => Model;
}

/** Opens the player. It closes itself. */
export function play(source: Source): void {
  new Player(source).open();
}

class Player {
  private readonly dialog: HTMLDialogElement;
  private readonly screen = h("div", { class: "replay-screen", testid: "replay-screen" });
  private readonly deck = new Deck(this.screen);
  private readonly notice = h("div", { class: "notice", role: "status", testid: "replay-notice" });
  private readonly toggle: HTMLButtonElement;
  private readonly seeker: HTMLInputElement;
  private readonly track = h("div", { class: "track", "aria-hidden": "true" });
  private readonly time = h("span", { class: "time", testid: "replay-time" });
  private readonly caption = h("p", { class: "caption", testid: "replay-caption" });
  private readonly happened = h("ol", { class: "happened" });
  private readonly facts = h("span", { class: "muted" });
  private readonly fork: HTMLButtonElement;
  private readonly forkFrom = h("span", { class: "muted", testid: "replay-snapshot" });
  private readonly recording = new Recording();
  private readonly abort = new AbortController();
  private readonly leave = (): void => this.dialog.close();
  private index: Index | undefined;
  private line: Timeline = { start: NaN, length: 0, segments: [], gaps: [] };
  private marks: Mark[] = [];
  private position = 0;
  private playing = false;
  private speed: number = SPEEDS[0];
  /** The segment that is on the deck. */
  private shown = -1;
  private busy = false;
  /** Places that were asked for, and those that were gone to. */
  private wishes = 0;
  private granted = 0;
  private last = 0;
  private frame = 0;

  constructor(private readonly source: Source) {
    const { namespace, object, file } = source;
    const skip = (label: string, picture: "before" | "after", by: -1 | 1): HTMLElement =>
      h("button", { class: "tool", type: "button", testid: `replay-${picture}`, "aria-label": label, title: label, on: () => this.toMark(by) }, icon(picture));
    this.toggle = h("button", { class: "primary play", type: "button", testid: "replay-play", on: () => this.run(!this.playing) }, icon("play"));
    this.seeker = h("input", { type: "range", min: "0", step: "1", testid: "replay-seek", "aria-label": "Moment of the recording" });
    this.seeker.addEventListener("input", () => void this.seek(Number(this.seeker.value)));
    this.seeker.addEventListener("keydown", (event) => this.step(event));
    this.fork = h("button", { type: "button", testid: "replay-fork", on: () => this.forkHere() }, icon("fork"), "Fork from here");
    const speeds = h("div", { class: "segments", role: "radiogroup", "aria-label": "Speed" }, ...SPEEDS.map((speed) =>
      h("label", {}, h("input", { type: "radio", name: "replay-speed", value: String(speed), checked: speed === 1, testid: `replay-speed-${speed}`, on: () => (this.speed = speed) }), h("span", {}, `${speed}×`))));
    fill(this.screen, this.notice);
    this.dialog = h("dialog", { class: "card player", testid: "player", "aria-labelledby": "player-title", close: () => this.closed() },
      h("div", { class: "player-head" }, h("span", { class: "what" }, h("h2", { id: "player-title" }, source.title), this.facts), h("span", { class: "grow" }),
        h("a", { class: "button ghost", href: api.artifactUrl(namespace, object), download: file, testid: "replay-download", "aria-label": "Download the recording", title: "Download" }, icon("download")),
        h("button", { class: "ghost", type: "button", "aria-label": "Close", testid: "replay-close", on: () => this.dialog.close() }, icon("cross"))),
      this.screen, this.caption,
      h("div", { class: "line-of-time" }, this.track, this.seeker),
      h("div", { class: "controls" }, this.toggle, skip("What happened before", "before", -1), skip("What happens next", "after", 1), this.time, speeds,
        h("span", { class: "grow" }), !source.readOnly && h("div", { class: "fork" }, this.forkFrom, this.fork)),
      h("details", {}, h("summary", {}, "What happened"), this.happened));
    this.say("Loading the recording", true);
    this.run(false);
    this.draw();
  }

  open(): void {
    document.body.append(this.dialog);
    this.dialog.showModal();
    // A fork opens another Session.
    window.addEventListener("hashchange", this.leave);
    void this.load();
  }

  private closed(): void {
    window.removeEventListener("hashchange", this.leave);
    this.abort.abort();
    cancelAnimationFrame(this.frame);
    this.playing = false;
    this.deck.close();
    this.dialog.remove();
  }

  private async load(): Promise<void> {
    const { namespace, object } = this.source;
    try {
      await this.recording.load(api.artifactUrl(namespace, object), {
        index: (index) => this.known(index),
        segment: () => this.arrived(),
        progress: (done, of) => {
          if (this.shown < 0) this.say(`Loading the recording: ${bytes(done)}${of ? ` of ${bytes(of)}` : ""}`, true);
        },
      }, this.abort.signal);
      if (this.line.segments.length === 0) this.say("Nothing was recorded in this turn.", false);
    } catch (error) {
      if (!this.abort.signal.aborted) this.say(error instanceof Error ? error.message : String(error), false);
    }
  }

  /** Who waits for a segment may have been told that it is not there, and not have heard it yet: a small recording arrives in one piece. */
  private arrived(): void {
    if (this.shown < 0) this.wishes += 1;
    void this.settle();
  }

  private known(index: Index): void {
    this.index = index;
    this.line = timeline(index);
    this.marks = marks(this.line, index, this.source.model().messages.values());
    const { start, length, gaps } = this.line;
    const recorded = this.line.segments.reduce((sum, one) => sum + one.to - one.from, 0);
    setText(this.facts, length > 0 ? `Turn ${index.turn} · ${clock(new Date(start).toISOString(), Date.now())} · ${duration(recorded / 1000)}` : `Turn ${index.turn}`);
    this.screen.style.aspectRatio = `${index.width} / ${index.height}`;
    this.seeker.max = String(length);
    const percent = (at: number): string => `${length > 0 ? (at / length) * 100 : 0}%`;
    const at = (element: HTMLElement, from: number, to?: number): HTMLElement => {
      element.style.left = percent(from);
      if (to !== undefined) element.style.width = percent(to - from);
      return element;
    };
    fill(this.track, ...gaps.map((gap) => at(h("i", { class: "gap" }), gap.from, gap.to)), ...this.marks.map((mark) => at(h("i", { class: `mark ${mark.kind}` }), mark.at)));
    const rows = [...this.marks.map((mark) => ({ at: mark.at, who: SPOKEN[mark.kind], text: mark.text })), ...gaps.map((gap) => ({ at: gap.from, who: "Gap", text: `${gap.why}, ${duration((gap.to - gap.from) / 1000)}` }))];
    fill(this.happened, ...rows.sort((a, b) => a.at - b.at).map((row) =>
      h("li", {}, h("button", { class: "ghost", type: "button", on: () => void this.seek(row.at) }, h("span", { class: "time" }, clockWords(row.at)), h("strong", {}, row.who), h("span", { class: "words" }, short(row.text))))));
    this.draw();
    void this.seek(0);
  }

  private run(yes: boolean): void {
    if (yes && this.position >= this.line.length) void this.seek(0);
    this.playing = yes;
    fill(this.toggle, icon(yes ? "pause" : "play"));
    this.toggle.setAttribute("aria-label", yes ? "Pause" : "Play");
    this.toggle.title = yes ? "Pause" : "Play";
    cancelAnimationFrame(this.frame);
    this.last = performance.now();
    if (yes) this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  private tick(now: number): void {
    if (!this.playing) return;
    const passed = Math.max(0, now - this.last);
    this.last = now;
    // While a segment is brought up, time stands still.
    if (!this.busy) {
      this.position = Math.min(this.position + passed * this.speed, this.line.length);
      void this.settle();
      this.draw();
      if (this.position >= this.line.length) {
        this.run(false);
        return;
      }
    }
    this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  private async seek(at: number): Promise<void> {
    this.position = Math.min(Math.max(at, 0), this.line.length);
    this.wishes += 1;
    this.draw();
    await this.settle();
  }

  /** Brings the picture to where the position is; one at a time, and the last wish counts. */
  private async settle(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      for (;;) {
        const spot = place(this.line, this.position);
        if (!spot) return;
        const jump = this.granted !== this.wishes;
        this.granted = this.wishes;
        // In a gap there is nothing to wait for.
        this.position = Math.max(this.position, spot.at);
        if (jump || spot.segment !== this.shown) await this.bring(spot.segment, spot.offset);
        else await this.deck.advance(spot.offset);
        if (this.granted === this.wishes) return;
      }
    } catch (error) {
      this.run(false);
      this.say(error instanceof Error ? error.message : String(error), false);
    } finally {
      this.busy = false;
      this.last = performance.now();
      this.draw();
    }
  }

  private async bring(segment: number, offset: number): Promise<void> {
    const file = this.line.segments[segment]?.file ?? "";
    const data = await this.recording.segment(file);
    if (!data) {
      this.say("This part is still loading", true);
      // The segment's arrival asks again.
      this.shown = -1;
      return;
    }
    if (await this.deck.show(stream(data), offset)) {
      this.shown = segment;
      this.say("", false);
    }
  }

  /** The line has a place for each millisecond; a key shall move by more. */
  private step(event: KeyboardEvent): void {
    const by = { ArrowLeft: -STEP_MS, ArrowDown: -STEP_MS, ArrowRight: STEP_MS, ArrowUp: STEP_MS }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    void this.seek(this.position + by);
  }

  private toMark(by: -1 | 1): void {
    // Going back from just behind a mark means the one before it.
    const to = by > 0 ? this.marks.find((mark) => mark.at > this.position + 1) : this.marks.findLast((mark) => mark.at < this.position - 900);
    void this.seek(to?.at ?? (by > 0 ? this.line.length : 0));
  }

  private draw(): void {
    const { position, line } = this;
    this.seeker.value = String(position);
    const now = `${clockWords(position)} of ${clockWords(line.length)}`;
    this.seeker.setAttribute("aria-valuetext", now);
    setText(this.time, `${clockWords(position)} / ${clockWords(line.length)}`);
    const mark = markAt(this.marks, position);
    setText(this.caption, mark ? `${SPOKEN[mark.kind]}: ${short(mark.text)}` : "");
    const snapshot = nearestSnapshot(this.source.model().snapshots.values(), line.start + position);
    this.fork.disabled = snapshot === undefined;
    this.fork.title = snapshot ? `A new Session that starts from Snapshot ${snapshot.metadata.name}` : "There is no Snapshot from before this moment";
    const taken = Date.parse(snapshot?.status?.takenAt ?? snapshot?.metadata.creationTimestamp ?? "");
    setText(this.forkFrom, snapshot ? `${snapshot.metadata.name}, taken ${duration(Math.max(0, line.start + position - taken) / 1000)} before` : this.index ? "no Snapshot from before this moment" : "");
  }

  private forkHere(): void {
    const snapshot = nearestSnapshot(this.source.model().snapshots.values(), this.line.start + this.position);
    if (!snapshot) return;
    this.run(false);
    newSession(this.source.namespace, snapshot.metadata.name);
  }

  private say(text: string, busy: boolean): void {
    fill(this.notice, h("span", { class: "spinner", "aria-hidden": "true" }), h("span", {}, text));
    this.notice.classList.toggle("busy", busy);
    visible(this.notice, text !== "");
  }
}

function short(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
}
