// The live desktop's bar, the page on a phone, and the player of recordings, in a real browser. It needs no cluster but the mock server behind
// the built page: `npm run build && npx vite preview --mode mock` in console/web, started anew for each run.
//
// A8S_CONSOLE_URL  address of the mock server          A8S_CHROMIUM  browser (default /usr/bin/chromium)
// A8S_SCREENSHOTS  folder for pictures (optional)

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const base = (process.env.A8S_CONSOLE_URL ?? assert.fail("A8S_CONSOLE_URL is not set")).replace(/\/$/, "");
const pictures = process.env.A8S_SCREENSHOTS;
const troubles = [];
let browser;

before(async () => {
  if (pictures) await mkdir(pictures, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.A8S_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
});

after(async () => {
  await browser?.close();
});

/** The Session's page of somebody who signed in with `token`. */
async function open(token, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => troubles.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) troubles.push(message.text());
  });
  const sign = await context.request.post(`${base}/api/login`, { data: { token }, headers: { "X-A8s": "1" } });
  assert.equal(sign.status(), 200);
  await page.goto(`${base}/#/team-blue/rain-report`);
  return page;
}

const at = (page, testid) => page.locator(`[data-testid="${testid}"]`);
const shot = async (page, name) => {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
};
const live = (page) => at(page, "connection-state").getByText("Live").waitFor();

/** What a canvas shows, coarsely. */
const look = (page, within) => page.evaluate((selector) => {
  const canvas = document.querySelector(selector);
  const small = new OffscreenCanvas(32, 20).getContext("2d");
  small.drawImage(canvas, 0, 0, 32, 20);
  return Array.from(small.getImageData(0, 0, 32, 20).data).join();
}, `${within} canvas:not(.frozen)`);

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
  await shot(page, "desktop-1-keys");
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
  await shot(page, "desktop-2-clipboard");
});

test("on a phone the chat and the desktop are two views, and everything can be touched", async () => {
  const page = await open("jane", { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await at(page, "message-input").waitFor();
  await shot(page, "desktop-3-phone-chat");
  await at(page, "view-desktop").click();
  await live(page);
  await at(page, "message-input").waitFor({ state: "hidden" });
  await shot(page, "desktop-4-phone");
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
  await shot(page, "desktop-5-replay");
  const first = await look(page, "[data-testid=replay-screen]");
  assert.equal(await at(page, "replay-fork").isDisabled(), true, "there is no Snapshot before the beginning");
  await at(page, "replay-after").click();
  await at(page, "replay-caption").getByText("Agent: click 310,120").waitFor();
  // Into the private gap: what follows it is shown.
  await at(page, "replay-seek").fill("7000");
  await at(page, "replay-time").getByText("0:10 / 0:13").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=replay-screen] .screen").length === 1);
  assert.notEqual(await look(page, "[data-testid=replay-screen]"), first);
  await at(page, "replay-snapshot").getByText("rain-report-1, taken 7s before").waitFor();
  await at(page, "replay-speed-8").check({ force: true });
  await at(page, "replay-play").click();
  await at(page, "replay-time").getByText("0:13 / 0:13").waitFor();
  await shot(page, "desktop-6-replay-end");
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
  await shot(page, "desktop-7-replay-phone");
  await at(page, "replay-close").click();
  await at(page, "player").waitFor({ state: "detached" });
});

test("nothing went wrong on the way", () => {
  assert.deepEqual(troubles, []);
});
