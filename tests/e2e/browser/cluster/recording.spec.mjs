// A turn is recorded and played: what was on the screen, what the agent did, and a new Session from the Snapshot before it.
//
// A8S_CONSOLE_URL  address of the console            A8S_TOKEN    Kubernetes token of a person
// A8S_NAMESPACE    namespace of the Session          A8S_SESSION  its name; it records, and its agent waits
// A8S_FORK         name of the Session that is made

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { at, cells, changes, drawn, eventually, look, need, nothingWentWrong, shot, signedIn, still } from "../browser.mjs";

const base = need("A8S_CONSOLE_URL").replace(/\/$/, "");
const PLAYER = "[data-testid=replay-screen] .screen canvas";
const TYPED = "echo typed by nobody else; seq 40";

let page;

before(async () => {
  page = await signedIn(base, need("A8S_TOKEN"), `/${need("A8S_NAMESPACE")}/${need("A8S_SESSION")}`);
});

test("a turn on the desktop becomes a recording", { timeout: 120_000 }, async () => {
  await at(page, "save").click();
  await page.locator("[data-testid^=fork-]").first().waitFor();
  const calm = await still(page, 30_000);
  await at(page, "message-input").fill(`/launch terminal\n/wait-window Terminal\n/type ${TYPED}\n/key Return\n/sleep 1500\n/say done`);
  await at(page, "message-input").press("Enter");
  await changes(page, "the terminal opens", calm, 100, 30_000);
  await at(page, "play-recording-turn-2").waitFor({ timeout: 60_000 });
});

test("the player shows what was on the screen and what the agent did", { timeout: 60_000 }, async () => {
  await at(page, "play-recording-turn-2").click();
  await at(page, "replay-notice").waitFor({ state: "hidden" });
  const first = await drawn(page, 10_000, PLAYER);
  assert.match(await at(page, "replay-time").innerText(), /^0:00 \/ 0:\d\d$/);
  await shot(page, "1-begin");
  await page.getByText("What happened", { exact: true }).click();
  const list = page.locator(".happened");
  await list.getByText(`type (${TYPED.length} characters)`).click();
  await at(page, "replay-caption").getByText(`Agent: type (${TYPED.length} characters)`).waitFor();
  const done = list.locator("li").filter({ has: page.getByText("Agent", { exact: true }) });
  assert.deepEqual(await done.locator(".words").allInnerTexts(), ["launch terminal", `type (${TYPED.length} characters)`, "key Return"]);
  // Through the moment at which the terminal was used, and back to the beginning.
  await list.getByText(/^key Return/i).click();
  const later = await changes(page, "another picture after seeking", first, 100, 10_000, PLAYER);
  await shot(page, "2-sought");
  await at(page, "replay-seek").fill("0");
  await eventually("the first picture again", 10_000, async () => cells(first, await look(page, PLAYER)) < 4);
  await at(page, "replay-speed-8").check({ force: true });
  await at(page, "replay-play").click();
  await changes(page, "playing changes the picture", first, 100, 20_000, PLAYER);
  await eventually("it plays to the end", 20_000, async () => /^(\d:\d\d) \/ \1$/.test(await at(page, "replay-time").innerText()));
  assert.ok(cells(first, later) > 100);
  await shot(page, "3-end");
});

test("a fork from a moment is a Session from the Snapshot before it", { timeout: 60_000 }, async () => {
  await at(page, "replay-snapshot").getByText(/, taken .* before$/).waitFor();
  await at(page, "replay-fork").click();
  await at(page, "session-name").fill(need("A8S_FORK"));
  await shot(page, "4-fork");
  await at(page, "create").click();
  await page.getByRole("heading", { name: need("A8S_FORK") }).waitFor();
  await at(page, "player").waitFor({ state: "detached" });
  await at(page, "state").waitFor();
});

nothingWentWrong();
