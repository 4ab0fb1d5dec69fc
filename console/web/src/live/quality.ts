// How good the picture is. A person chooses, or it follows the connection: down as soon as the connection suffers, up only after it has been
// good for a while, so that the picture does not flicker between two levels. Pure but for the two functions that remember the choice.

export type Level = "Low" | "Medium" | "High" | "Lossless";
export type Choice = "Auto" | Level;

export const CHOICES: readonly Choice[] = ["Auto", "Low", "Medium", "High", "Lossless"];

/** noVNC's knobs: JPEG quality and effort of compression, both 0 to 9. */
export interface Knobs {
  qualityLevel: number;
  compressionLevel: number;
}

const KNOBS: Readonly<Record<Level, Knobs>> = {
  // Where bytes are dear, the desktop's processor pays.
  Low: { qualityLevel: 2, compressionLevel: 6 },
  Medium: { qualityLevel: 5, compressionLevel: 3 },
  High: { qualityLevel: 8, compressionLevel: 2 },
  // JPEG at 100 with full colour: no loss that an eye would see.
  Lossless: { qualityLevel: 9, compressionLevel: 1 },
};

/** What to ask the server for. */
export function knobs(level: Level): Knobs {
  return KNOBS[level];
}

/** What a person reads about a choice. */
export function words(choice: Choice): string {
  switch (choice) {
    case "Auto":
      return "Auto";
    case "Low":
      return "Low, least data";
    case "Medium":
      return "Medium";
    case "High":
      return "High";
    case "Lossless":
      return "Almost lossless";
  }
}

/** One look at the connection. */
export interface Sample {
  /** Round trip in milliseconds; none if nothing was answered in time. */
  rtt: number | undefined;
  /** Bytes per second that came meanwhile. */
  rate: number;
}

export interface Auto {
  /** Auto never chooses Lossless: whoever needs it knows. */
  level: "Low" | "Medium" | "High";
  /** The shortest round trip of late, in milliseconds: what the way takes when nothing queues on it. */
  base: number | undefined;
  /** Looks in a row that called for a lower level, or for a higher one. */
  worse: number;
  better: number;
}

export const AUTO: Auto = { level: "High", base: undefined, worse: 0, better: 0 };

/** Looks that must agree before the level changes. */
const DOWN_AFTER = 2;
const UP_AFTER = 6;
/** A round trip that much above the shortest one means that the picture itself fills the way. */
const QUEUE_MS = 120;
/** Below this rate the picture cannot be what fills it, in bytes per second. */
const BUSY = 30_000;
/** The shortest round trip is forgotten slowly, because ways change. */
const DRIFT = 1.02;

const LEVELS = ["Low", "Medium", "High"] as const;

/** The level after one more look. */
export function follow(auto: Auto, sample: Sample): Auto {
  const base = sample.rtt === undefined ? auto.base : Math.min(sample.rtt, (auto.base ?? sample.rtt) * DRIFT);
  const at = LEVELS.indexOf(auto.level);
  const wanted = LEVELS.indexOf(fitting(sample, base, auto.level));
  const worse = wanted < at ? auto.worse + 1 : 0;
  const better = wanted > at ? auto.better + 1 : 0;
  if (worse >= DOWN_AFTER) return { level: LEVELS[at - 1] ?? "Low", base, worse: 0, better: 0 };
  if (better >= UP_AFTER) return { level: LEVELS[at + 1] ?? "High", base, worse: 0, better: 0 };
  return { level: auto.level, base, worse, better };
}

/** The level that fits one look alone. Going up takes a clearly better way than staying does. */
function fitting({ rtt, rate }: Sample, base: number | undefined, level: Auto["level"]): Auto["level"] {
  if (rtt === undefined) return "Low";
  const slack = (limit: number, of: Auto["level"]): number => (LEVELS.indexOf(of) > LEVELS.indexOf(level) ? limit * 0.7 : limit);
  if (base !== undefined && rtt - base > QUEUE_MS && rate > BUSY) {
    // Full: what comes through now is all there is.
    return rate < slack(1_500_000, "Medium") ? "Low" : "Medium";
  }
  if (rtt > slack(400, "Medium")) return "Low";
  return rtt > slack(150, "High") ? "Medium" : "High";
}

const KEY = "a8s.quality";

/** What this browser chose last. */
export function remembered(storage: Pick<Storage, "getItem"> | undefined): Choice {
  try {
    const held = storage?.getItem(KEY);
    return CHOICES.find((choice) => choice === held) ?? "Auto";
  } catch {
    return "Auto";
  }
}

/** Keeps the choice. A browser that stores nothing forgets it with the page. */
export function remember(storage: Pick<Storage, "setItem"> | undefined, choice: Choice): void {
  try {
    storage?.setItem(KEY, choice);
  } catch {
    // Storage is full or forbidden.
  }
}
