// A person shares a desktop: a guest opens the link, watches, works where he may, and is cut off when it is taken back.
//
// A8S_CONSOLE_URL  address of the console            A8S_TOKEN        Kubernetes token of who shares
// A8S_NAMESPACE    namespace of the Session          A8S_SESSION      its name
// A8S_GUEST        user name of the guest            A8S_GUEST_TOKEN  his token
// A8S_EXPIRED      name of a Share with him that has ended

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { at, cells, changes, drawn, eventually, freshPage, look, need, nothingWentWrong, shot, signedIn, still } from "../browser.mjs";

const base = need("A8S_CONSOLE_URL").replace(/\/$/, "");
const [namespace, session, guestName] = ["A8S_NAMESPACE", "A8S_SESSION", "A8S_GUEST"].map(need);
const short = guestName.split(":").at(-1);
const NOT_INVITED = "You are not invited to this desktop, or not any more";

let owner;
let guest;
let place;

before(async () => {
  owner = await signedIn(base, need("A8S_TOKEN"), `/${namespace}/${session}`);
  await owner.context().grantPermissions(["clipboard-read", "clipboard-write"]);
});

/** Invites the guest and gives the link that was copied, and the Share's name. */
async function invite(role) {
  const dialog = at(owner, "share-dialog");
  if (!(await dialog.isVisible())) await at(owner, "share").click();
  await at(owner, "share-who").fill(guestName);
  await at(owner, "share-role").selectOption(role);
  const made = owner.waitForResponse((answer) => answer.request().method() === "POST" && answer.url().endsWith("/shares"));
  await at(owner, "share-create").click();
  const { name } = (await (await made).json()).metadata;
  await at(owner, `share-${name}`).getByText("shared", { exact: true }).waitFor();
  const link = await eventually("the link is copied", 5_000, () => owner.evaluate(async (end) => {
    const text = await navigator.clipboard.readText();
    return text.endsWith(end) ? text : undefined;
  }, name));
  return { link, name };
}

/** Opens a terminal by the panel's third launcher. */
const launch = async (page) => {
  const box = await page.locator("[data-testid=desktop] .screen canvas").boundingBox();
  await page.mouse.click(box.x + (box.width * 97) / 1280, box.y + (box.height * 778) / 800);
};

test("a guest signs in behind the link and sees the desktop", { timeout: 60_000 }, async () => {
  const { link } = await invite("Watch");
  await shot(owner, "1-dialog");
  guest = await freshPage();
  await guest.goto(link);
  await at(guest, "login-token").fill(need("A8S_GUEST_TOKEN"));
  await at(guest, "login-submit").click();
  await at(guest, "shared").waitFor();
  await drawn(guest, 20_000);
  await at(guest, "connection-state").getByText("Live").waitFor();
  assert.match(await at(guest, "shared-facts").innerText(), /^You may watch · until /);
  await at(owner, "share-dialog").getByRole("button", { name: "Close" }).click();
});

test("who may only watch is offered nothing, and what he types goes nowhere", { timeout: 60_000 }, async () => {
  assert.equal(await at(guest, "take-over").isVisible(), false);
  assert.equal(await guest.getByText("Message the agent").count(), 0, "there is no conversation");
  const calm = await still(guest, 10_000);
  await launch(guest);
  await guest.keyboard.type("ignored");
  await guest.waitForTimeout(1_500);
  assert.ok(cells(calm, await look(guest)) < 4, "a guest without control changed the desktop");
  await shot(guest, "3-watch");
});

test("who was invited to work takes over, and who shared it sees who works and who watches", { timeout: 60_000 }, async () => {
  const { link, name } = await invite("Control");
  place = name;
  await at(owner, "share-dialog").getByRole("button", { name: "Close" }).click();
  guest = await guest.context().newPage();
  await guest.goto(link);
  await at(guest, "take-over").click();
  await at(guest, "control").getByText("You have control").waitFor();
  await at(guest, "toggle-input").getByText("Interactive").waitFor();
  const calm = await still(guest, 10_000);
  await launch(guest);
  await changes(guest, "the terminal opens", calm, 100, 20_000);
  const empty = await still(guest, 8_000);
  await guest.keyboard.type("yes a guest was here | head -60", { delay: 25 });
  await guest.keyboard.press("Enter");
  await changes(guest, "typing shows in the desktop", empty, 8, 10_000);
  await shot(guest, "4-control");
  await at(owner, "control").getByText(`${short} has control`).waitFor();
  await at(owner, "audience").locator("summary").click();
  await at(owner, "audience").getByText(short, { exact: true }).waitFor();
  await shot(owner, "2-audience");
});

test("a Share that is taken back ends the guest's view and says so", { timeout: 60_000 }, async () => {
  await at(owner, "share").click();
  await at(owner, `share-revoke-${place}`).click();
  await at(guest, "trouble").getByText(NOT_INVITED).waitFor();
  assert.equal(await at(guest, "hand-back").isVisible(), false);
  assert.equal(await at(guest, "desktop").count(), 0, "the last picture is gone, too");
  await shot(guest, "5-revoked");
  await at(owner, "share-dialog").getByRole("button", { name: "Close" }).click();
  await at(owner, "take-over").click();
  await at(owner, "control").getByText("You have control").waitFor();
});

test("a Share that has ended lets nobody in", { timeout: 60_000 }, async () => {
  await guest.goto(`${base}/#/shared/${namespace}/${need("A8S_EXPIRED")}`);
  await at(guest, "trouble").getByText(NOT_INVITED).waitFor();
  await shot(guest, "6-expired");
});

nothingWentWrong();
