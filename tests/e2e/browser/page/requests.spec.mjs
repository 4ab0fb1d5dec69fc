// What the agent asks: cards are answered, the desktop is taken and handed back, a talk becomes a handoff, a limit is raised; with canned data.

import assert from "node:assert/strict";
import { test } from "node:test";
import { at, nothingWentWrong, shot } from "../browser.mjs";
import * as mock from "./mock.mjs";

const open = (token, place, viewport = { width: 1440, height: 1000 }) => mock.open(token, place, { viewport });

test("a new Session names its agent, its model and its connections, or begins with a talk", async () => {
  const page = await open("jane", "");
  await at(page, "connections").locator("summary").click();
  assert.match(await at(page, "connection-wiki").innerText(), /not ready/);
  await shot(page, "1-list");
  await at(page, "new-session").click();
  await at(page, "create").getByText("Talk first").waitFor();
  await at(page, "environment").selectOption("desktop");
  await at(page, "harness").selectOption("opencode");
  await at(page, "model").selectOption("claude");
  await at(page, "use-portal").check();
  await shot(page, "2-new");
  await at(page, "goal").fill("Make a report.");
  await at(page, "create").getByText("Start", { exact: true }).waitFor();
  const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/sessions"));
  await at(page, "create").click();
  const expected = { goal: "Make a report.", environment: "desktop", agent: { harness: "opencode", model: { connection: "claude" } }, attachments: [{ name: "portal", connection: { name: "portal" } }] };
  assert.deepEqual((await sent).postDataJSON(), expected);
});

test("cards are answered in the conversation", async () => {
  const page = await open("jane", "/rain-report");
  await at(page, "asks").getByText("3 requests wait for you").waitFor();
  assert.match(await at(page, "usage").innerText(), /41 model calls · 1.2M tokens · \$1.27/);
  await shot(page, "3-session");
  await at(page, "asks").click();
  const permission = at(page, "request-rain-report-0-14");
  await permission.locator('[data-testid="option-once"]').click();
  await permission.getByText("Granted").waitFor();
  const question = at(page, "request-rain-report-0-15");
  await question.locator('[data-testid="option-allow"]').click();
  assert.equal(await question.locator('[data-testid="verdict"]').count(), 0, "an empty form was sent");
  await question.locator('[data-testid="input-unit"]').selectOption("mm");
  await shot(page, "4-cards");
  await question.locator('[data-testid="option-allow"]').click();
  await question.getByText("unit: mm").waitFor();
  await at(page, "request-take-over").click();
  await at(page, "control").getByText("You have control").waitFor();
  await shot(page, "5-taken");
  await at(page, "request-hand-back").click();
  await at(page, "request-take-over").waitFor();
  await at(page, "asks").getByText("1 request waits for you").waitFor();
});

test("a talk says where it stands, and is handed over once what is missing is filled in", async () => {
  const page = await open("jane", "/supplier");
  await at(page, "desktop-notice").getByText("Confirm it, and an agent gets a desktop").waitFor();
  assert.match(await at(page, "state").innerText(), /Chatting/);
  const card = at(page, "request-supplier-handoff-1");
  await card.locator('[data-testid="option-allow"]').click();
  await shot(page, "6-talk");
  await card.locator('[data-testid="input-file"]').selectOption("figures.csv");
  const sent = page.waitForRequest((request) => request.url().endsWith("/requests/supplier-handoff-1"));
  await card.locator('[data-testid="option-allow"]').click();
  assert.deepEqual((await sent).postDataJSON(), { option: "allow", values: { quarter: "Q3", file: "figures.csv" } });
  await card.getByText("Granted").waitFor();
});

test("a limit that is reached is raised from the page", async () => {
  const page = await open("limited", "/rain-report");
  await at(page, "limited").getByText("the limit of tokens is reached").waitFor();
  assert.equal(await at(page, "limit-tokens").inputValue(), "2000000");
  await shot(page, "7-limited");
  await at(page, "raise").click();
  await at(page, "limited").waitFor({ state: "hidden" });
});

test("a read-only page shows the cards and offers nothing, on a phone too", async () => {
  const page = await open("read-only", "/supplier", { width: 420, height: 900 });
  const card = at(page, "request-supplier-handoff-1");
  await card.waitFor();
  assert.equal(await card.locator("button, input, textarea, select").count(), 0);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 420, `the page is ${width} pixels wide`);
  await shot(page, "8-read-only");
});

nothingWentWrong();
