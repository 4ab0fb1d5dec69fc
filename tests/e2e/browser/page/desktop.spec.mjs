// The live desktop's bar, the page on a phone, and the player of recordings, with canned data.

import assert from "node:assert/strict";
import { test } from "node:test";
import { at, cells, look, nothingWentWrong, shot } from "../browser.mjs";
import * as mock from "./mock.mjs";

const open = (token, options = {}) => mock.open(token, "/rain-report", { viewport: { width: 1280, height: 800 }, ...options });
const live = (page) => at(page, "connection-state").getByText("Live").waitFor();

const PLAYER = "[data-testid=replay-screen] canvas:not(.frozen)";

test("whoever holds control works, only watches, and types with keys on the screen", async () => {
  const page = await open("jane");
  await live(page);
  assert.equal(await at(page, "toggle-input").isVisible(), false);
  assert.match(await at(page, "audience").innerText(), /2/);
  await at(page, "latency").getByText(/\d m?s/).waitFor();
  await at(page, "take-over").click();
  await at(page, "toggle-input").getByText("Interactive").waitFor();
  await at(page, "toggle-keys").click();
  await at(page, "key-ctrl").click();
  assert.equal(await at(page, "key-ctrl").getAttribute("aria-pressed"), "true");
  await at(page, "key-escape").click();
  assert.equal(await at(page, "key-ctrl").getAttribute("aria-pressed"), "false", "one key uses up a modifier");
  await at(page, "key-alt").click();
  await at(page, "message-input").focus();
  assert.equal(await at(page, "key-alt").getAttribute("aria-pressed"), "false", "whoever leaves holds nothing");
  await shot(page, "1-keys");
  await at(page, "toggle-input").click();
  await at(page, "toggle-input").getByText("View only").waitFor();
  assert.equal(await at(page, "keys").isVisible(), false);
});

test("the quality is remembered by the browser", async () => {
  const page = await open("jane");
  await live(page);
  assert.match(await at(page, "quality").locator("option:checked").innerText(), /^Auto: /);
  await at(page, "quality").selectOption("Low");
  await page.reload();
  await live(page);
  assert.equal(await at(page, "quality").inputValue(), "Low");
});

test("without the right to the clipboard the text can be sent by hand, and the page says so", async () => {
  const page = await open("jane");
  await live(page);
  if (await at(page, "take-over").isVisible()) await at(page, "take-over").click();
  await at(page, "clipboard").click();
  await at(page, "paste").click();
  await at(page, "clipboard-status").getByText("does not let the page read the clipboard").waitFor();
  await at(page, "clipboard-out").fill("hello");
  await at(page, "clipboard-send").click();
  await at(page, "clipboard-status").getByText("5 characters sent").waitFor();
  await shot(page, "2-clipboard");
});

test("on a phone the chat and the desktop are two views, and everything can be touched", async () => {
  const page = await open("jane", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await at(page, "message-input").waitFor();
  await shot(page, "3-phone-chat");
  await at(page, "view-desktop").click();
  await live(page);
  await at(page, "message-input").waitFor({ state: "hidden" });
  await shot(page, "4-phone");
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `the page is ${width} pixels wide`);
  const small = await page.evaluate(() => [...document.querySelectorAll("button, select.tool")].filter((e) => e.offsetParent).map((e) => [e.dataset.testid ?? e.textContent, e.getBoundingClientRect()])
    .filter(([, box]) => box.height < 40 || box.width < 40).map(([name]) => name));
  assert.deepEqual(small, []);
});

test("a recording is played on one line of time, and a fork starts from the Snapshot before the moment", async () => {
  const page = await open("jane");
  await at(page, "play-recording-turn-1").click();
  await at(page, "replay-time").getByText("0:00 / 0:13").waitFor();
  await at(page, "replay-notice").waitFor({ state: "hidden" });
  await shot(page, "5-replay");
  const first = await look(page, PLAYER);
  assert.ok(first?.some((value) => value > 0), "the first picture is drawn before anything is played");
  assert.equal(await at(page, "replay-fork").isDisabled(), true, "there is no Snapshot before the beginning");
  await at(page, "replay-after").click();
  await at(page, "replay-caption").getByText("Agent: click 310,120").waitFor();
  // Into the private gap: what follows it is shown.
  await at(page, "replay-seek").fill("7000");
  await at(page, "replay-time").getByText("0:10 / 0:13").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=replay-screen] .screen").length === 1);
  assert.ok(cells(first, await look(page, PLAYER)) > 0, "another picture is shown");
  await at(page, "replay-snapshot").getByText("rain-report-1, taken 7s before").waitFor();
  await at(page, "replay-speed-8").check({ force: true });
  await at(page, "replay-play").click();
  await at(page, "replay-time").getByText("0:13 / 0:13").waitFor();
  await shot(page, "6-replay-end");
  await at(page, "replay-fork").click();
  await page.getByText("Fork from rain-report-1").waitFor();
});

test("a read-only page plays recordings and offers no fork", async () => {
  const page = await open("read-only", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await at(page, "view-desktop").click();
  await at(page, "play-recording-turn-1").click();
  await at(page, "replay-time").getByText("/ 0:13").waitFor();
  await at(page, "replay-notice").waitFor({ state: "hidden" });
  assert.equal(await at(page, "replay-fork").count(), 0);
  await shot(page, "7-replay-phone");
  await at(page, "replay-close").click();
  await at(page, "player").waitFor({ state: "detached" });
});

nothingWentWrong();
