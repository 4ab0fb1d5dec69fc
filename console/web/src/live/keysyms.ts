// Keys as X names them (keysymdef.h of the X protocol), and what a touch keyboard typed. Pure.

/** A key: its keysym, and the physical key as KeyboardEvent.code calls it, from which noVNC knows the scan code. */
export interface Key {
  keysym: number;
  code: string;
}

export const KEYS = {
  BackSpace: { keysym: 0xff08, code: "Backspace" },
  Tab: { keysym: 0xff09, code: "Tab" },
  Enter: { keysym: 0xff0d, code: "Enter" },
  Esc: { keysym: 0xff1b, code: "Escape" },
  Home: { keysym: 0xff50, code: "Home" },
  Left: { keysym: 0xff51, code: "ArrowLeft" },
  Up: { keysym: 0xff52, code: "ArrowUp" },
  Right: { keysym: 0xff53, code: "ArrowRight" },
  Down: { keysym: 0xff54, code: "ArrowDown" },
  End: { keysym: 0xff57, code: "End" },
  Delete: { keysym: 0xffff, code: "Delete" },
  Shift: { keysym: 0xffe1, code: "ShiftLeft" },
  Ctrl: { keysym: 0xffe3, code: "ControlLeft" },
  Alt: { keysym: 0xffe9, code: "AltLeft" },
  Super: { keysym: 0xffeb, code: "MetaLeft" },
} as const satisfies Record<string, Key>;

/** Every key that can stay pressed without being seen, left and right. */
export const MODIFIERS: readonly Key[] = [
  KEYS.Shift, KEYS.Ctrl, KEYS.Alt, KEYS.Super,
  { keysym: 0xffe2, code: "ShiftRight" },
  { keysym: 0xffe4, code: "ControlRight" },
  { keysym: 0xffea, code: "AltRight" },
  { keysym: 0xffec, code: "MetaRight" },
  { keysym: 0xfe03, code: "AltRight" },
];

/** F1 to F12. */
export function functionKey(number: number): Key {
  return { keysym: 0xffbd + number, code: `F${number}` };
}

/** The keysym of a character: Latin-1 is itself, all else is Unicode with a bit set. */
export function keysymOf(char: string): number {
  const point = char.codePointAt(0) ?? 0;
  if (point === 0x0a || point === 0x0d) return KEYS.Enter.keysym;
  if (point === 0x09) return KEYS.Tab.keysym;
  return point < 0x100 ? point : 0x01000000 | point;
}

/** Keys that a touch keyboard reports by name instead of by text. */
export function namedKey(name: string): Key | undefined {
  switch (name) {
    case "Enter":
      return KEYS.Enter;
    case "Tab":
      return KEYS.Tab;
    case "Escape":
      return KEYS.Esc;
    case "ArrowLeft":
      return KEYS.Left;
    case "ArrowRight":
      return KEYS.Right;
    case "ArrowUp":
      return KEYS.Up;
    case "ArrowDown":
      return KEYS.Down;
    case "Delete":
      return KEYS.Delete;
    default:
      return undefined;
  }
}

/** What must be typed so that `before` becomes `after`: deletions from the end, then text. Touch keyboards correct whole words. */
export function typed(before: string, after: string): { erase: number; text: string } {
  const [old, now] = [Array.from(before), Array.from(after)];
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same += 1;
  return { erase: old.length - same, text: now.slice(same).join("") };
}
