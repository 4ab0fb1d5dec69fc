// The dialog in which a desktop is shared: who, what they may do, until when, the link to send, and who was invited before.

import { api } from "../api.ts";
import { fill, h, icon, KeyedList, setText, visible } from "../dom.ts";
import { clock, shortUser } from "../format.ts";
import { linkTo } from "../route.ts";
import { acting, toast } from "../toast.ts";
import { condition, isTrue, type Share, type Subject } from "../types.ts";

const HOUR = 3_600_000;
/** How long a Share may hold; the last is a little less than the 30 days that are allowed, whatever this computer's clock says. */
const LASTS: readonly [string, number][] = [["1 hour", HOUR], ["8 hours", 8 * HOUR], ["24 hours", 24 * HOUR], ["7 days", 7 * 24 * HOUR], ["30 days", 30 * 24 * HOUR - HOUR / 4]];
/** Rights are there a moment after the Share is. */
const LOOK_MS = 2_000;

/** Names that were written, one after the other. */
export function subjects(kind: Subject["kind"], text: string): Subject[] {
  const names = text.split(/[\s,;]+/).filter((name) => name !== "");
  return [...new Set(names)].map((name) => ({ kind, name }));
}

/** Opens the dialog. */
export function shareDialog(namespace: string, session: string): HTMLDialogElement {
  const who = h("input", { id: "share-who", testid: "share-who", required: true, autofocus: true, autocomplete: "off", placeholder: "jane@example.com" });
  const kind = h("select", { id: "share-kind", testid: "share-kind" }, h("option", { value: "User" }, "People, by user name"), h("option", { value: "Group" }, "Groups"));
  const role = h("select", { id: "share-role", testid: "share-role" }, h("option", { value: "Watch" }, "watch the desktop"), h("option", { value: "Control" }, "watch, and take mouse and keyboard"));
  const lasts = h("select", { id: "share-lasts", testid: "share-lasts" }, ...LASTS.map(([words, millis]) => h("option", { value: String(millis), selected: millis === 24 * HOUR }, words)));
  const submit = h("button", { class: "primary", type: "submit", testid: "share-create" }, icon("share"), h("span", {}, "Share"));
  const none = h("p", { class: "help", testid: "share-none" });
  const list = h("ul", { class: "shares", testid: "shares", "aria-label": "Who was invited" });
  const rows = new KeyedList<Share>(list, (share) => share.metadata.uid, (share) => row(share, namespace, () => void load()));

  const load = async (): Promise<void> => {
    try {
      const all = await api.shares(namespace, session);
      rows.update(all.sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp)));
      setText(none, "Nobody is invited. Guests see the desktop, not the conversation.");
      visible(none, all.length === 0);
    } catch (error) {
      setText(none, error instanceof Error ? error.message : String(error));
      visible(none, true);
    }
  };
  const create = async (): Promise<void> => {
    const invited = subjects(kind.value as Subject["kind"], who.value);
    const expires = new Date(Date.now() + Number(lasts.value)).toISOString().replace(/\.\d+Z$/, "Z");
    const made = await api.share(namespace, session, { role: role.value as Share["spec"]["role"], subjects: invited, expires });
    who.value = "";
    await copy(linkTo(namespace, made.metadata.name));
    await load();
  };
  const timer = setInterval(() => void load(), LOOK_MS);
  const dialog = h("dialog", { class: "card", testid: "share-dialog", "aria-labelledby": "share-title", close: () => { clearInterval(timer); dialog.remove(); } },
    h("form", { on: (event) => { event.preventDefault(); void acting(submit, create); } },
      h("h2", { id: "share-title" }, "Share this desktop"),
      h("div", { class: "pair" },
        h("div", {}, h("label", { for: "share-kind" }, "With"), kind),
        h("div", {}, h("label", { for: "share-who" }, "Names"), who)),
      h("div", { class: "pair" },
        h("div", {}, h("label", { for: "share-role" }, "They may"), role),
        h("div", {}, h("label", { for: "share-lasts" }, "For"), lasts)),
      h("div", { class: "buttons" }, h("button", { class: "ghost", type: "button", on: () => dialog.close() }, "Close"), submit)),
    none, list);
  document.body.append(dialog);
  dialog.showModal();
  void load();
  return dialog;
}

/** Puts a link where it can be pasted from. */
async function copy(link: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(link);
    toast("The link is copied. Those who are invited sign in with their own account.");
  } catch {
    toast(`Send them this link: ${link}`);
  }
}

function row(share: Share, namespace: string, changed: () => void): HTMLElement {
  const { name } = share.metadata;
  const ready = condition(share, "Ready");
  const who = share.spec.subjects.map((one) => (one.kind === "Group" ? `group ${one.name}` : shortUser(one.name))).join(", ");
  const over = ready?.reason === "Expired";
  const link = !over && h("button", { class: "small", type: "button", testid: `share-link-${name}`, on: () => void copy(linkTo(namespace, name)) }, icon("clip"), "Copy link");
  const revoke: HTMLButtonElement = h("button", { class: "small danger", type: "button", testid: `share-revoke-${name}`, on: () => void acting(revoke, async () => { await api.revoke(namespace, name); changed(); }) }, icon("cross"), over ? "Remove" : "Revoke");
  const state = h("span", { class: `badge ${isTrue(share, "Ready") ? "good" : ready === undefined ? "busy" : "calm"}`, title: ready?.message }, ready === undefined ? "starting" : isTrue(share, "Ready") ? "shared" : over ? "over" : "waits");
  const element = h("li", { testid: `share-${name}` });
  fill(element, state, h("span", { class: "what" }, h("strong", {}, who),
    h("span", { class: "muted" }, `${share.spec.role === "Control" ? "watch and control" : "watch"} · until ${clock(share.spec.expires ?? "", Date.now())}`)), link, revoke);
  return element;
}
