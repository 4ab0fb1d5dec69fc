// What all browser tests share: one browser for a file, pages of people who signed in, pictures, and looking at the desktop's canvas.
//
// A8S_SCREENSHOTS  folder for pictures (optional)    A8S_CHROMIUM  browser (default /usr/bin/chromium)

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { chromium } from "playwright-core";

const pictures = process.env.A8S_SCREENSHOTS;
const pages = [];
const troubles = [];

if (pictures) await mkdir(pictures, { recursive: true });
// Here and not in a hook: hooks of a file do not wait for those of another.
const browser = await chromium.launch({
  executablePath: process.env.A8S_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

after(async () => {
  // How it ended, for whoever asks why it failed.
  for (const [number, page] of pages.entries()) await shot(page, `end-${number + 1}`).catch(() => undefined);
  await browser.close();
});

/** A variable that the test cannot do without. */
export const need = (name) => process.env[name] ?? assert.fail(`${name} is not set`);

/** A page with cookies of its own. What goes wrong in it is remembered. */
export async function freshPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  pages.push(page);
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => troubles.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) troubles.push(message.text());
  });
  return page;
}

/** A page of somebody who signed in with `token`, at `place`, which is what follows `#`. */
export async function signedIn(base, token, place, options) {
  const page = await freshPage(options);
  const sign = await page.context().request.post(`${base}/api/login`, { data: { token }, headers: { "X-A8s": "1", Origin: base } });
  assert.equal(sign.status(), 200);
  await page.goto(`${base}/#${place}`);
  return page;
}

/** What the page calls so in `data-testid`. */
export const at = (page, testid) => page.getByTestId(testid);

/** Takes a picture, if somebody wants pictures; its name begins with the file's. */
export async function shot(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${basename(process.argv[1] ?? "", ".spec.mjs")}-${name}.png`) });
}

/** Asks until the answer is true. `state` says at the end how it was instead. */
export async function eventually(what, timeout, ask, state = async () => "") {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) assert.fail(`${what}: not within ${timeout / 1000} s ${await state().catch(() => "")}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** A coarse picture of a canvas: 64×40 cells, so that noise of the encoding does not count as a change. */
export function look(page, canvas = "[data-testid=desktop] .screen canvas") {
  return page.evaluate((selector) => {
    const found = document.querySelector(selector);
    if (!found || found.width === 0) return undefined;
    const small = new OffscreenCanvas(64, 40).getContext("2d", { willReadFrequently: true });
    small.drawImage(found, 0, 0, 64, 40);
    return Array.from(small.getImageData(0, 0, 64, 40).data.filter((_, i) => i % 4 !== 3));
  }, canvas);
}

/** How many cells differ. */
export function cells(a, b) {
  let changed = 0;
  for (let i = 0; i < a.length; i += 3) {
    if (Math.max(Math.abs(a[i] - b[i]), Math.abs(a[i + 1] - b[i + 1]), Math.abs(a[i + 2] - b[i + 2])) > 12) changed += 1;
  }
  return changed;
}

/** A canvas as soon as it shows more than one colour. */
export const drawn = (page, timeout, canvas) => eventually("a picture of the desktop", timeout, async () => {
  const now = await look(page, canvas);
  return now && new Set(now).size > 8 ? now : undefined;
});

/** Waits until at least `least` cells differ from `then`. */
export const changes = (page, what, then, least, timeout, canvas) => eventually(what, timeout, async () => {
  const now = await look(page, canvas);
  return now && cells(then, now) >= least ? now : undefined;
});

/** The desktop once it has been still for a second, or as it is after the time. */
export async function still(page, timeout) {
  const end = Date.now() + timeout;
  let last = await drawn(page, timeout);
  let since = Date.now();
  while (Date.now() < end && Date.now() - since < 1000) {
    await page.waitForTimeout(150);
    const now = await look(page);
    if (now && cells(last, now) > 1) [last, since] = [now, Date.now()];
  }
  return last;
}

/** The last test of a file. */
export function nothingWentWrong() {
  test("the pages had no troubles of their own", () => {
    assert.deepEqual(troubles, []);
  });
}
