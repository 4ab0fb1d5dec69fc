// Short notices in a corner. Errors stay until they are closed.

import { fill, h, icon } from "./dom.ts";

/** Says something. */
export function toast(text: string, kind: "info" | "error" = "info"): void {
  const host = document.getElementById("toasts");
  if (!host) return;
  const close = h("button", { class: "ghost small", type: "button", "aria-label": "Dismiss", on: () => note.remove() }, icon("cross"));
  const note = h("div", { class: `toast ${kind}`, testid: "toast", role: kind === "error" ? "alert" : undefined }, h("span", {}, text), close);
  // The same error again and again is one error.
  for (const old of host.children) if (old.textContent === text) old.remove();
  host.append(note);
  while (host.children.length > 4) host.firstElementChild?.remove();
  raise(host);
  if (kind === "info") setTimeout(() => note.remove(), 5000);
}

/** Puts the notices in front of a dialog that was opened after them; it would blur what they say. */
function raise(host: HTMLElement): void {
  if (!("showPopover" in host)) return;
  if (host.matches(":popover-open")) host.hidePopover();
  host.showPopover();
}

/** Says what went wrong. */
export function complain(error: unknown): void {
  toast(error instanceof Error ? error.message : String(error), "error");
}

/** Removes all. */
export function clearToasts(): void {
  const host = document.getElementById("toasts");
  if (host) fill(host);
}

/** Runs what a button does: the button is off meanwhile, an error is shown. */
export async function acting(button: HTMLButtonElement | null, work: () => Promise<void>): Promise<boolean> {
  if (button) button.disabled = true;
  try {
    await work();
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}
