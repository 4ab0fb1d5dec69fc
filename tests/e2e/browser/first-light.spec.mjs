// First light through the page, as a person would do it: sign in, watch the agent work, redirect it, take the mouse, give it back, and
// take the PDF home. It needs a running install and a Session that was just started; it never talks to the cluster itself.
//
// A8S_CONSOLE_URL  address of the console            A8S_TOKEN        Kubernetes token of a person
// A8S_NAMESPACE    namespace of the Session          A8S_SESSION      its name
// A8S_SCREENSHOTS  folder for pictures (optional)    A8S_CHROMIUM     browser (default /usr/bin/chromium)
// A8S_PATIENCE     seconds that the agent may take for one turn (default 300)

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set`);
const base = need("A8S_CONSOLE_URL").replace(/\/$/, "");
const [token, namespace, session] = ["A8S_TOKEN", "A8S_NAMESPACE", "A8S_SESSION"].map(need);
const pictures = process.env.A8S_SCREENSHOTS;
const patience = Number(process.env.A8S_PATIENCE ?? 300) * 1000;

let browser;
let page;
const troubles = [];
let shots = 0;

before(async () => {
  if (pictures) await mkdir(pictures, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.A8S_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  page = await browser.newPage({ viewport: { width: 1440, height: 900 }, acceptDownloads: true });
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => troubles.push(`page: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) troubles.push(message.text());
  });
});

after(async () => {
  if (page) await picture("end").catch(() => undefined);
  await browser?.close();
});

const at = (id) => page.getByTestId(id);

async function picture(name) {
  shots += 1;
  if (pictures) await page.screenshot({ path: join(pictures, `${String(shots).padStart(2, "0")}-${name}.png`) });
}

/** A coarse picture of the live desktop: 64×40 cells, so that noise of the encoding does not count as a change. */
async function look() {
  return page.evaluate(() => {
    const canvas = document.querySelector("[data-testid=desktop] .screen canvas");
    if (!canvas || canvas.width === 0) return undefined;
    const small = new OffscreenCanvas(64, 40).getContext("2d", { willReadFrequently: true });
    small.drawImage(canvas, 0, 0, 64, 40);
    return Array.from(small.getImageData(0, 0, 64, 40).data.filter((_, i) => i % 4 !== 3));
  });
}

const cells = (a, b) => {
  let changed = 0;
  for (let i = 0; i < a.length; i += 3) {
    if (Math.max(Math.abs(a[i] - b[i]), Math.abs(a[i + 1] - b[i + 1]), Math.abs(a[i + 2] - b[i + 2])) > 12) changed += 1;
  }
  return changed;
};

/** Asks until the answer is true. */
async function eventually(what, timeout, ask) {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) {
      const state = await at("state").textContent().catch(() => "?");
      const doing = await at("doing").textContent().catch(() => "?");
      assert.fail(`${what}: not within ${timeout / 1000} s (state ${state}, doing "${doing}")`);
    }
    await page.waitForTimeout(200);
  }
}

/** The desktop as soon as it shows more than one colour. */
async function drawn(timeout) {
  return eventually("a picture of the desktop", timeout, async () => {
    const now = await look();
    return now && new Set(now).size > 8 ? now : undefined;
  });
}

/** Waits until at least `least` cells differ from `then`. */
async function changes(what, then, least, timeout) {
  return eventually(what, timeout, async () => {
    const now = await look();
    return now && cells(then, now) >= least ? now : undefined;
  });
}

/** The desktop once it has been still for a second, or as it is after the time. */
async function still(timeout) {
  const end = Date.now() + timeout;
  let last = await drawn(timeout);
  let since = Date.now();
  while (Date.now() < end && Date.now() - since < 1000) {
    await page.waitForTimeout(150);
    const now = await look();
    if (now && cells(last, now) > 1) [last, since] = [now, Date.now()];
  }
  return last;
}

const agentMessages = () => at("message-agent").count();

test("a person signs in with a token and finds the Session", { timeout: 60_000 }, async () => {
  await page.goto(`${base}/`);
  await at("login-token").fill(token);
  await picture("login");
  await at("login-submit").click();
  await at("logout").waitFor();
  await page.goto(`${base}/#/${encodeURIComponent(namespace)}`);
  const row = at(`session-row-${session}`);
  await row.waitFor();
  await picture("sessions");
  await row.click();
  await at("state").waitFor();
});

test("the desktop is live while the agent works", { timeout: patience + 150_000 }, async () => {
  const first = await drawn(120_000);
  await picture("desktop");
  await changes("the agent's work changes the desktop", first, 20, patience / 2);
  await picture("working");
  assert.equal(await at("hand-back").isVisible(), false, "nobody has taken control yet");
});

test("the desktop's bar tells how the connection is, and its quality can be chosen", { timeout: 60_000 }, async () => {
  await eventually("the connection is live", 30_000, async () => (await at("connection-state").textContent()) === "Live");
  await eventually("the latency is measured", 30_000, async () => /\d (ms|s)$/.test(await at("latency").textContent()));
  assert.match(await at("quality").locator("option").first().textContent(), /^Auto/);
  await at("quality").selectOption("Low");
  assert.equal(await page.evaluate(() => localStorage.getItem("a8s.quality")), "Low");
  // The picture goes on at the new quality.
  await drawn(10_000);
  assert.equal(await at("connection-state").textContent(), "Live");
  await at("quality").selectOption("Auto");
  assert.equal(await at("toggle-input").isVisible(), false, "nobody who does not hold control is offered input");
});

test("a message redirects the agent", { timeout: patience + 60_000 }, async () => {
  const before = await agentMessages();
  await at("message-input").fill("Use one chart per year.");
  await at("message-input").press("Enter");
  await at("chat").getByText("Use one chart per year.").first().waitFor();
  await picture("said");
  await eventually("the agent answers", patience, async () => (await agentMessages()) > before);
  await picture("answered");
});

test("a person takes over, works in the desktop and hands it back", { timeout: 120_000 }, async () => {
  await at("take-over").click();
  await at("hand-back").waitFor();
  await eventually("control is confirmed", 20_000, async () => /You have control/.test(await at("control").textContent()));
  // Whoever holds control can only watch for a while, and work again.
  await eventually("input is on", 10_000, async () => (await at("toggle-input").textContent()) === "Interactive");
  await at("toggle-input").click();
  assert.equal(await at("toggle-input").textContent(), "View only");
  assert.equal(await at("toggle-keys").isVisible(), false);
  await at("toggle-input").click();
  assert.equal(await at("toggle-input").textContent(), "Interactive");
  const calm = await still(10_000);
  const canvas = page.locator("[data-testid=desktop] .screen canvas");
  const box = await canvas.boundingBox();
  assert.ok(box, "the desktop is on the page");
  // A right click on the wallpaper's corner or any window opens something; where it does not, the typing below does.
  await page.mouse.click(box.x + box.width * 0.985, box.y + box.height * 0.5, { button: "right" });
  const opened = await changes("a click opens a menu", calm, 4, 8_000).catch(() => undefined);
  if (opened) {
    await picture("click");
    await page.keyboard.press("Escape");
  }
  const before = await still(6_000);
  // The panel's second and third launchers are the file manager and the terminal.
  await page.mouse.click(box.x + (box.width * 97) / 1280, box.y + (box.height * 778) / 800);
  const window = await changes("the terminal opens", before, 40, 20_000);
  await still(8_000);
  const empty = await look();
  await page.keyboard.type("echo a person was here; seq 60", { delay: 25 });
  await page.keyboard.press("Enter");
  await changes("typing shows in the desktop", empty ?? window, 8, 10_000);
  await picture("in-control");
  await page.keyboard.type("exit", { delay: 25 });
  await page.keyboard.press("Enter");
  await at("hand-back").click();
  await at("take-over").waitFor();
  await eventually("control is back", 20_000, async () => /The agent has control/.test(await at("control").textContent()));
  // From here on input goes nowhere.
  const after = await still(10_000);
  await page.mouse.click(box.x + box.width * 0.985, box.y + box.height * 0.5, { button: "right" });
  await page.waitForTimeout(1_500);
  const finished = (await at("state").textContent()) === "Finished";
  if (finished) assert.ok(cells(after, await look()) < 4, "a click without control changed the desktop");
  await picture("handed-back");
});

test("the PDF can be downloaded", { timeout: patience + 60_000 }, async () => {
  // Versions of an artifact share one tile; its link is the newest.
  const pdf = page.locator("a.tile[data-testid^=artifact-]", { hasText: ".pdf" }).first();
  await pdf.waitFor({ timeout: patience });
  const [download] = await Promise.all([page.waitForEvent("download"), pdf.click()]);
  const content = await readFile(await download.path());
  assert.match(download.suggestedFilename(), /\.pdf$/);
  assert.equal(content.subarray(0, 4).toString("latin1"), "%PDF");
  assert.ok(content.length > 1000, `a PDF of ${content.length} bytes is no report`);
  await picture("downloaded");
});

test("the page had no troubles of its own", () => {
  assert.deepEqual(troubles, []);
});
