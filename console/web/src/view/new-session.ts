// The form for a new Session, from nothing or from a Snapshot.

import { api, type NewSession } from "../api.ts";
import { fill, h, icon, setText } from "../dom.ts";
import { attachmentName, bytes } from "../format.ts";
import { hashFor } from "../route.ts";
import { acting, toast } from "../toast.ts";
import type { ConnectionInfo, Environment } from "../types.ts";

/** Largest text that `spec.attachments[].text` takes. */
const MAX_TEXT = 65536;

/** Opens the form. It closes itself. */
export function newSession(namespace: string, snapshot?: string): void {
  const files: { name: string; text: string }[] = [];
  const goal = h("textarea", {
    id: "goal", testid: "goal", rows: "5", autofocus: true,
    placeholder: snapshot ? "What to do differently from here on (optional)" : "Make a one-page PDF report of yearly rain and temperature from the attached data.",
  });
  const name = h("input", { id: "name", testid: "session-name", placeholder: "chosen for you", pattern: "[a-z0-9]([-a-z0-9]*[a-z0-9])?", maxlength: "48", autocomplete: "off" });
  const harness = h("select", { id: "harness", testid: "harness" });
  const model = h("select", { id: "model", testid: "model" }, h("option", { value: "" }, "None: the built-in agent follows its script"));
  const connections = h("div", { class: "ticks", testid: "use-connections", role: "group", "aria-labelledby": "connections-title" });
  let known: Environment[] = [];
  const environment = h("select", { id: "environment", testid: "environment", on: () => harnesses() }, h("option", { value: "" }, "The one that fits best"));
  const chosen = h("ul", { class: "files", "aria-label": "Attached files" });
  const picker = h("input", { type: "file", id: "attach", testid: "attach", multiple: true, on: () => void pick() });
  const submit = h("button", { class: "primary", type: "submit", testid: "create" });
  const hint = h("p", { class: "help", testid: "goal-hint" });
  const say = (): void => {
    const talk = snapshot === undefined && goal.value.trim() === "";
    setText(submit, snapshot ? "Fork" : talk ? "Talk first" : "Start");
    setText(hint, snapshot ? "" : talk ? "Leave it empty to talk first: the chat agent asks what it must know, and you confirm before the work begins." : "An agent begins at once.");
  };
  goal.addEventListener("input", say);
  say();

  /** Only a named Environment says which harnesses there are. */
  const harnesses = (): void => {
    const all = known.find((e) => e.metadata.name === environment.value)?.spec.harnesses ?? [];
    fill(harness, h("option", { value: "" }, "The Environment's default"), ...all.map((one) => h("option", { value: one.name }, one.default ? `${one.name} (default)` : one.name)));
    harness.disabled = all.length === 0;
  };
  harnesses();

  const pick = async (): Promise<void> => {
    for (const file of picker.files ?? []) await take(file);
    picker.value = "";
    list();
  };
  const take = async (file: File): Promise<void> => {
    let text: string;
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    } catch {
      toast(`${file.name} is not a text file. Put it into a ConfigMap or publish it as an Artifact, and attach that with kubectl.`, "error");
      return;
    }
    if (text.length > MAX_TEXT) {
      toast(`${file.name} has ${bytes(file.size)}; at most ${bytes(MAX_TEXT)} can be attached here. Use a ConfigMap or an Artifact.`, "error");
      return;
    }
    const clean = attachmentName(file.name);
    const same = files.findIndex((f) => f.name === clean);
    files.splice(same < 0 ? files.length : same, 1, { name: clean, text });
  };
  const list = (): void => fill(chosen, ...files.map((file, at) => h("li", {}, icon("file"), h("span", {}, file.name), h("span", { class: "muted" }, bytes(file.text.length)),
    h("button", { class: "ghost small", type: "button", "aria-label": `Remove ${file.name}`, on: () => { files.splice(at, 1); list(); } }, icon("cross")))));

  const create = async (): Promise<void> => {
    const wish: NewSession = {};
    if (goal.value.trim()) wish.goal = goal.value.trim();
    if (name.value.trim()) wish.name = name.value.trim();
    if (environment.value) wish.environment = environment.value;
    if (harness.value || model.value) wish.agent = { ...(harness.value && { harness: harness.value }), ...(model.value && { model: { connection: model.value } }) };
    const used = [...connections.querySelectorAll("input")].filter((box) => box.checked).map((box) => ({ name: box.value, connection: { name: box.value } }));
    if (files.length + used.length > 0) wish.attachments = [...files, ...used];
    if (snapshot) wish.source = { snapshot };
    const session = await api.create(namespace, wish);
    dialog.close();
    location.hash = hashFor(namespace, session.metadata.name);
  };

  const dialog = h("dialog", { class: "card", "aria-labelledby": "new-title", close: () => dialog.remove() },
    h("form", { on: (event) => { event.preventDefault(); void acting(submit, create); } },
      h("h2", { id: "new-title" }, snapshot ? `Fork from ${snapshot}` : "New session"),
      h("label", { for: "goal" }, snapshot ? "Goal" : "What is to be done?"), goal, hint,
      h("label", { for: "name" }, "Name"), name,
      !snapshot && h("label", { for: "environment" }, "Environment"), !snapshot && environment,
      h("div", { class: "pair" }, !snapshot && h("div", {}, h("label", { for: "harness" }, "Agent"), harness), h("div", {}, h("label", { for: "model" }, "Model"), model)),
      h("label", { id: "connections-title" }, "The agent may use"), connections,
      h("label", { for: "attach", class: "attach button" }, icon("clip"), "Attach text files"), picker, chosen,
      h("div", { class: "buttons" }, h("button", { class: "ghost", type: "button", on: () => dialog.close() }, "Cancel"), submit)));
  document.body.append(dialog);
  dialog.showModal();
  goal.focus();
  if (!snapshot) {
    // Without permission to list them the field stays at its default, which is always right.
    api.environments(namespace).then(
      (all) => {
        known = all;
        environment.append(...all.map((e) => h("option", { value: e.metadata.name }, e.spec.title ? `${e.metadata.name} – ${e.spec.title}` : e.metadata.name)));
      },
      () => undefined,
    );
  }
  api.connections(namespace).then(
    (all) => {
      const label = (one: ConnectionInfo): string => one.title ? `${one.title} (${one.name})` : one.name;
      const models = all.filter((one) => one.kind === "Model");
      model.append(...models.map((one) => h("option", { value: one.name, disabled: !one.ready }, [label(one), one.target ?? "", one.ready ? "" : "not ready"].filter((part) => part !== "").join(" · "))));
      fill(connections, ...all.filter((one) => one.kind !== "Model").map((one) =>
        h("label", { class: "check" }, h("input", { type: "checkbox", value: one.name, testid: `use-${one.name}`, disabled: !one.ready }), `${label(one)} · ${one.kind ?? ""}`)));
    },
    () => undefined,
  );
}
