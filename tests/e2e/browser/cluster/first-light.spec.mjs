// First light through the page, as a person would do it: sign in, watch the agent work, redirect it, take the mouse, give it back, and
// take the PDF home. It needs a running install and a Session that was just started; it never talks to the cluster itself.
//
// A8S_CONSOLE_URL  address of the console            A8S_TOKEN        Kubernetes token of a person
// A8S_NAMESPACE    namespace of the Session          A8S_SESSION      its name
// A8S_PATIENCE     seconds that the agent may take for one turn (default 300)

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import * as browser from "../browser.mjs";
import { cells, need, nothingWentWrong } from "../browser.mjs";

const base = need("A8S_CONSOLE_URL").replace(/\/$/, "");
const [token, namespace, session] = ["A8S_TOKEN", "A8S_NAMESPACE", "A8S_SESSION"].map(need);
const patience = Number(process.env.A8S_PATIENCE ?? 300) * 1000;

let page;
let shots = 0;

before(async () => {
  page = await browser.freshPage();
});

const at = (id) => browser.at(page, id);
const look = () => browser.look(page);
const drawn = (timeout) => browser.drawn(page, timeout);
const changes = (...rest) => browser.changes(page, ...rest);
const still = (timeout) => browser.still(page, timeout);
const eventually = (what, timeout, ask) => browser.eventually(what, timeout, ask, async () =>
  `(state ${await at("state").textContent()}, doing "${await at("doing").textContent()}")`);
const agentMessages = () => at("message-agent").count();

async function picture(name) {
  shots += 1;
  await browser.shot(page, `${String(shots).padStart(2, "0")}-${name}`);
}

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
  await eventually("input is on", 10_000, async () => (await at("toggle-input").textContent()) === "Interactive");
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

nothingWentWrong();
