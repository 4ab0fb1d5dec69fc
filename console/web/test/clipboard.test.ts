// @vitest-environment jsdom
// The clipboard's panel says why a way is closed, and offers nothing that would have no effect.

import type RFB from "@novnc/novnc";
import { describe, expect, it } from "vitest";
import type { ClipboardRule } from "../src/types.ts";
import { Clipboard } from "../src/view/desktop/clipboard.ts";

function shown(rule: ClipboardRule): { why: string; pastes: boolean } {
  const clipboard = new Clipboard(() => undefined);
  clipboard.use({ clipboardPasteFrom: () => undefined } as unknown as RFB);
  clipboard.obey(rule);
  clipboard.element.hidden = false;
  const why = clipboard.element.querySelector<HTMLElement>("[data-testid=clipboard-rule]");
  const send = clipboard.element.querySelector<HTMLElement>("[data-testid=clipboard-send]");
  return { why: why?.hidden === false ? why.textContent : "", pastes: send?.closest("[hidden]") === null };
}

describe("the clipboard", () => {
  it("is offered both ways, and nothing is explained, where nothing is forbidden", () => {
    expect(shown("Both")).toEqual({ why: "", pastes: true });
  });

  it("says which way is closed", () => {
    expect(shown("In")).toEqual({ why: expect.stringContaining("only allows pasting into it") as string, pastes: true });
    expect(shown("Out")).toEqual({ why: expect.stringContaining("only allows copying out of it") as string, pastes: false });
    expect(shown("None")).toEqual({ why: expect.stringContaining("neither") as string, pastes: false });
  });
});
