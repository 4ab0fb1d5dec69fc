// A Request as a card in the conversation: what is asked, and what a person may answer. A decision is a write to the Request's status in
// the person's own name.

import type { Hands } from "../conversation.ts";
import { h, icon, type Icon } from "../dom.ts";
import { clock, shortUser } from "../format.ts";
import { markdown } from "../markdown.ts";
import { isWaiting } from "../model.ts";
import { acting } from "../toast.ts";
import type { Decision, Request, RequestOption, RequestType } from "../types.ts";
import { fields, type Form } from "./form.ts";

/** What a card can do; absent on a page that only shows. */
export interface Deciding {
  decide: (request: string, decision: Decision) => Promise<void>;
  hold: (holder: "User" | "Agent") => Promise<void>;
}

const WORDS: Readonly<Record<RequestType, { name: string; icon: Icon; yes: string; no: string }>> = {
  Permission: { name: "asks for permission", icon: "check", yes: "Allow", no: "Deny" },
  Takeover: { name: "asks you to take over", icon: "hand", yes: "Done", no: "Decline" },
  Question: { name: "asks", icon: "eye", yes: "Answer", no: "Decline" },
  Credential: { name: "asks for a connection", icon: "key", yes: "Allow", no: "Deny" },
  Tool: { name: "asks for a tool", icon: "plus", yes: "Allow", no: "Deny" },
  Context: { name: "asks for material", icon: "file", yes: "Allow", no: "Deny" },
  Handoff: { name: "is ready to hand over", icon: "play", yes: "Confirm", no: "Not yet" },
};

/** The card. */
export function card(request: Request, hands: Hands, deciding: Deciding | undefined): HTMLElement {
  const { spec } = request;
  const words = WORDS[spec.type];
  const open = isWaiting(request);
  const answer = open && deciding ? answering(request, hands, deciding) : undefined;
  return h("li", { class: `entry request ${open ? "open" : "closed"}`, testid: `request-${request.metadata.name}`, role: "group", "aria-label": `${spec.type}: ${spec.title}` },
    h("div", { class: "by" }, icon(words.icon), h("strong", {}, spec.type === "Handoff" ? "The chat agent" : "The agent"), h("span", {}, words.name),
      h("time", { datetime: request.metadata.creationTimestamp }, clock(request.metadata.creationTimestamp, Date.now()))),
    h("p", { class: "asks" }, spec.title),
    spec.subject !== undefined && h("p", { class: "muted" }, "It names ", h("code", {}, spec.subject), "."),
    spec.detail !== undefined && prose(spec.detail),
    spec.handoff !== undefined && handoff(spec.handoff, answer ? (spec.form ?? []).map((input) => input.name) : []),
    answer,
    open && h("p", { class: "foot", testid: "request-foot" }, foot(request, deciding !== undefined)),
    !open && verdict(request));
}

function prose(text: string): HTMLElement {
  const element = h("div", { class: "body" });
  element.append(markdown(text));
  return element;
}

/** `asked` are the inputs that the form below shows anyway. */
function handoff(wanted: NonNullable<Request["spec"]["handoff"]>, asked: readonly string[]): HTMLElement {
  const inputs = Object.entries(wanted.inputs ?? {}).filter(([name]) => !asked.includes(name));
  const row = (name: string, value: string): HTMLElement => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h("div", { class: "handoff" },
    prose(wanted.requirement),
    h("dl", {},
      ...inputs.map(([name, value]) => row(name, value)),
      wanted.environment !== undefined && row("Environment", wanted.environment),
      (wanted.tools ?? []).length > 0 && row("Tools", (wanted.tools ?? []).join(", ")),
      (wanted.connections ?? []).length > 0 && row("Connections", (wanted.connections ?? []).join(", "))));
}

function foot(request: Request, may: boolean): string {
  const said = request.status?.outcome ?? "";
  const until = request.spec.expires ? `counts as refused at ${clock(request.spec.expires, Date.now())}` : "";
  return [said, may ? "" : "waits for a person", until].filter((part) => part !== "").join(" · ");
}

/** What became of it. */
function verdict(request: Request): HTMLElement {
  const { decision, outcome } = request.status ?? {};
  const state = request.status?.state ?? "Open";
  const option = request.spec.options?.find((one) => one.id === decision?.option);
  const chosen = option ? (option.title ?? option.id) : decision?.option === "allow" ? WORDS[request.spec.type].yes : decision?.option === "deny" ? WORDS[request.spec.type].no : (decision?.option ?? "");
  const values = Object.entries(decision?.values ?? {}).map(([name, value]) => `${name}: ${value}`);
  const by = decision?.by ? `${shortUser(decision.by)}: ${chosen}` : chosen;
  const good = state === "Granted" || (state === "Open" && !/^(deny|reject)/i.test(option?.kind ?? decision?.option ?? ""));
  return h("div", { class: `verdict ${good ? "good" : "bad"}`, testid: "verdict" },
    h("strong", {}, state === "Open" ? "Sent" : state), h("span", {}, [by, ...values, decision?.note ?? "", outcome ?? ""].filter((part) => part !== "").join(" · ")));
}

function answering(request: Request, hands: Hands, deciding: Deciding): HTMLElement {
  const { spec } = request;
  const { yes, no } = WORDS[spec.type];
  if (spec.type === "Takeover") return takeover(request, hands, deciding);
  const form = (spec.form ?? []).length > 0 ? fields(spec.form ?? [], hands.files, spec.handoff?.inputs) : undefined;
  const free = spec.type === "Question" && form === undefined && (spec.options ?? []).length === 0;
  const note = h("textarea", { class: "note", rows: "2", maxlength: "4096", testid: "request-note", required: free,
    "aria-label": free ? "Answer" : "A word to the agent", placeholder: free ? "Your answer" : spec.type === "Handoff" ? "What should be different? (optional)" : "A word to the agent (optional)" });
  const options: RequestOption[] = spec.options?.length ? spec.options : [{ id: "allow", title: yes, kind: "AllowOnce" }, { id: "deny", title: no, kind: "RejectOnce" }];
  const buttons = options.map((option) => choice(request, option, { form, note, free }, deciding));
  return h("div", { class: "answer" }, form?.element, note, h("div", { class: "buttons" }, ...buttons));
}

function choice(request: Request, option: RequestOption, given: { form: Form | undefined; note: HTMLTextAreaElement; free: boolean }, deciding: Deciding): HTMLButtonElement {
  const allows = option.kind.startsWith("Allow");
  const button: HTMLButtonElement = h("button", { class: option.kind === "AllowOnce" ? "primary" : allows ? "" : "danger", type: "button", testid: `option-${option.id}`, on: () => {
    const decision: Decision = { option: option.id };
    if (allows && given.form) {
      const filled = given.form.values();
      if ("missing" in filled) return ask(filled.missing);
      decision.values = filled.values;
    }
    const note = given.note.value.trim();
    if (allows && given.free && note === "") return ask(given.note);
    if (note !== "") decision.note = note;
    void acting(button, () => deciding.decide(request.metadata.name, decision));
  } }, option.title ?? option.id);
  return button;
}

/** Shows what is missing. */
function ask(control: HTMLElement): void {
  control.focus();
  if ("reportValidity" in control) (control as HTMLInputElement).reportValidity();
}

/** Whoever takes the desktop and hands it back has done what was asked; nothing else need be said. */
function takeover(request: Request, hands: Hands, deciding: Deciding): HTMLElement {
  const act = (testid: string, label: string, look: string, picture: Icon, work: () => Promise<void>): HTMLButtonElement => {
    const button: HTMLButtonElement = h("button", { class: look, type: "button", testid, on: () => void acting(button, work) }, icon(picture), label);
    return button;
  };
  return h("div", { class: "answer" },
    !hands.ready && h("p", { class: "muted" }, "The desktop is not running just now."),
    h("div", { class: "buttons" },
      hands.mine ? act("request-hand-back", "Hand back", "primary", "back", () => deciding.hold("Agent")) : hands.ready && act("request-take-over", "Take over", "primary", "hand", () => deciding.hold("User")),
      act("option-deny", WORDS.Takeover.no, "danger", "cross", () => deciding.decide(request.metadata.name, { option: "deny" }))));
}
