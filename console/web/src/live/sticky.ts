// Modifiers on the screen: one touch holds a modifier for the next key, a second one until it is touched again. Pure.

export const STICKY = ["Ctrl", "Alt", "Super", "Shift"] as const;
export type Modifier = (typeof STICKY)[number];

/** `once`: released after the next key. `locked`: held until touched again. Missing: not held. */
export type Held = Readonly<Partial<Record<Modifier, "once" | "locked">>>;

export interface Change {
  held: Held;
  press: Modifier[];
  release: Modifier[];
}

/** A touch of a modifier. */
export function touch(held: Held, modifier: Modifier): Change {
  if (held[modifier] === undefined) return { held: { ...held, [modifier]: "once" }, press: [modifier], release: [] };
  if (held[modifier] === "once") return { held: { ...held, [modifier]: "locked" }, press: [], release: [] };
  return { held: without(held, [modifier]), press: [], release: [modifier] };
}

/** After a key that is no modifier. */
export function used(held: Held): Change {
  const release = STICKY.filter((modifier) => held[modifier] === "once");
  return { held: release.length === 0 ? held : without(held, release), press: [], release };
}

/** Everything is let go: the person left, lost control or the connection. */
export function letGo(held: Held): Change {
  return { held: {}, press: [], release: STICKY.filter((modifier) => held[modifier] !== undefined) };
}

function without(held: Held, gone: readonly Modifier[]): Held {
  return Object.fromEntries(Object.entries(held).filter(([name]) => !gone.includes(name as Modifier)));
}
