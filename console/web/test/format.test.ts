// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { age, attachmentName, backoff, bytes, shortUser } from "../src/format.ts";
import { markdown } from "../src/markdown.ts";
import { hashFor, parseRoute } from "../src/route.ts";

const html = (text: string): string => {
  const box = document.createElement("div");
  box.append(markdown(text));
  return new XMLSerializer().serializeToString(box);
};

describe("words", () => {
  it("ages are written as kubectl writes them", () => {
    const now = Date.parse("2026-01-03T00:00:00Z");
    expect(["2026-01-02T23:59:18Z", "2026-01-02T23:53:00Z", "2026-01-02T12:00:00Z", "2025-12-20T00:00:00Z", "", undefined].map((t) => age(t, now))).toEqual(["42s", "7m", "12h", "14d", "", ""]);
  });

  it("sizes, names and waits", () => {
    expect([912, 84_213, 1_260_000].map(bytes)).toEqual(["912 B", "84.2 kB", "1.3 MB"]);
    expect(shortUser("system:serviceaccount:team-blue:jane")).toBe("jane");
    expect(shortUser("jane@example.com")).toBe("jane@example.com");
    expect([0, 1, 20].map((n) => backoff(n, 0.5))).toEqual([250, 500, 5000]);
    expect(["Rain 2012.csv", "../etc/passwd", "Übersicht.csv"].map(attachmentName)).toEqual(["Rain 2012.csv", "_../etc/passwd".replaceAll("/", "_"), "_bersicht.csv"]);
  });

  it("an address is read as it was written", () => {
    expect(parseRoute(hashFor("team-blue", "rain report"), "x")).toEqual({ namespace: "team-blue", session: "rain report" });
    expect(parseRoute("", "home")).toEqual({ namespace: "home", session: undefined });
    expect(parseRoute("#/%zz", "home").namespace).toBe("%zz");
  });
});

describe("markdown", () => {
  it("keeps what is useful", () => {
    expect(html("**b** `c`\n\n| a |\n|---|\n| 1 |")).toMatch(/<strong>b<\/strong> <code>c<\/code>.*<table>/s);
    expect(html("[x](https://example.com)")).toContain('rel="noopener noreferrer nofollow"');
  });

  it("lets nothing through that runs, loads or styles", () => {
    for (const bad of ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "<svg onload=alert(1)>", "<iframe src=https://e.example>", "<p style='position:fixed'>x</p>", "![x](https://e.example/p.png)", "<form><input></form>"]) {
      expect(html(bad)).not.toMatch(/<script|onerror|javascript:|<svg|<iframe|style=|<img|<form|<input/i);
    }
  });
});
