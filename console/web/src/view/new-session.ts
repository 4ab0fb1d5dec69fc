// The form for a new Session, from nothing or from a Snapshot.

import { api, type NewSession } from "../api.ts";
import { fill, h, icon } from "../dom.ts";
import { attachmentName, bytes } from "../format.ts";
import { hashFor } from "../route.ts";
import { acting, toast } from "../toast.ts";

/** Largest text that `spec.attachments[].text` takes. */
const MAX_TEXT = 65536;

/** Opens the form. It closes itself. */
export function newSession(namespace: string, snapshot?: string): void {
  const files: { name: string; text: string }[] = [];
  const goal = h("textarea", {
    id: "goal", testid: "goal", rows: "5", required: snapshot === undefined, autofocus: true,
    placeholder: snapshot ? "What to do differently from here on (optional)" : "Make a one-page PDF report of yearly rain and temperature from the attached data.",
  });
  const name = h("input", { id: "name", testid: "session-name", placeholder: "chosen for you", pattern: "[a-z0-9]([-a-z0-9]*[a-z0-9])?", maxlength: "48", autocomplete: "off" });
  const environment = h("select", { id: "environment", testid: "environment" }, h("option", { value: "" }, "The one that fits the goal best"));
  const chosen = h("ul", { class: "files", "aria-label": "Attached files" });
  const picker = h("input", { type: "file", id: "attach", testid: "attach", multiple: true, on: () => void pick() });
  const submit = h("button", { class: "primary", type: "submit", testid: "create" }, snapshot ? "Fork" : "Start");

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
    if (files.length > 0) wish.attachments = files;
    if (snapshot) wish.source = { snapshot };
    const session = await api.create(namespace, wish);
    dialog.close();
    location.hash = hashFor(namespace, session.metadata.name);
  };

  const dialog = h("dialog", { class: "card", "aria-labelledby": "new-title", close: () => dialog.remove() },
    h("form", { on: (event) => { event.preventDefault(); void acting(submit, create); } },
      h("h2", { id: "new-title" }, snapshot ? `Fork from ${snapshot}` : "New session"),
      h("label", { for: "goal" }, snapshot ? "Goal" : "What is to be done?"), goal,
      h("label", { for: "name" }, "Name"), name,
      !snapshot && h("label", { for: "environment" }, "Environment"), !snapshot && environment,
      h("label", { for: "attach", class: "attach button" }, icon("clip"), "Attach text files"), picker, chosen,
      h("div", { class: "buttons" }, h("button", { class: "ghost", type: "button", on: () => dialog.close() }, "Cancel"), submit)));
  document.body.append(dialog);
  dialog.showModal();
  goal.focus();
  if (!snapshot) {
    // Without permission to list them the field stays at its default, which is always right.
    api.environments(namespace).then(
      (all) => environment.append(...all.map((e) => h("option", { value: e.metadata.name }, e.spec.title ? `${e.metadata.name} – ${e.spec.title}` : e.metadata.name))),
      () => undefined,
    );
  }
}
