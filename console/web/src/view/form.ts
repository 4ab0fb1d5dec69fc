// A small form from a list of fields, as an Environment's inputs and an agent's questions describe it.

import { h } from "../dom.ts";
import type { Input } from "../types.ts";

export interface Form {
  element: HTMLElement;
  /** What is filled in, or the first thing that is missing. */
  values: () => { values: Record<string, string> } | { missing: HTMLElement };
}

let made = 0;

/** Makes the fields. `files` are the attachments that a field of type File can name. */
export function fields(inputs: readonly Input[], files: readonly string[], known: Readonly<Record<string, string>> = {}): Form {
  made += 1;
  const all = inputs.map((input) => field(input, files, known[input.name] ?? "", `field-${made}-${input.name}`));
  return {
    element: h("div", { class: "fields" }, ...all.map((one) => one.element)),
    values: () => {
      const values: Record<string, string> = {};
      for (const { input, control } of all) {
        const value = control instanceof HTMLInputElement && control.type === "checkbox" ? String(control.checked) : control.value.trim();
        // A number that the browser cannot read is empty in `value`.
        if ((value === "" && !input.optional) || !control.checkValidity()) return { missing: control };
        if (value !== "") values[input.name] = value;
      }
      return { values };
    },
  };
}

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

function field(input: Input, files: readonly string[], value: string, id: string): { input: Input; control: Control; element: HTMLElement } {
  const control = controlOf(input, files, value, id);
  const label = h("label", { for: id }, input.title ?? input.name, input.optional && h("small", { class: "muted" }, " optional"));
  const tick = input.type === "Boolean";
  return { input, control, element: h("div", { class: tick ? "field tick" : "field" }, ...(tick ? [control, label] : [label, control])) };
}

function controlOf(input: Input, files: readonly string[], value: string, id: string): Control {
  const props = { id, testid: `input-${input.name}`, required: input.optional !== true };
  switch (input.type ?? "Text") {
    case "Boolean":
      return h("input", { id, testid: props.testid, type: "checkbox", checked: value === "true" });
    case "Number":
      return h("input", { ...props, type: "number", step: "any", value });
    case "Choice":
      return choice(props, input.options ?? [], value);
    case "File":
      return choice(props, files, value);
    case "Text": {
      const area = h("textarea", { ...props, rows: "2", maxlength: "8192" });
      area.value = value;
      return area;
    }
  }
}

function choice(props: { id: string; testid: string; required: boolean }, options: readonly string[], value: string): HTMLSelectElement {
  const select = h("select", props, h("option", { value: "" }, "choose…"), ...options.map((option) => h("option", { value: option }, option)));
  select.value = value;
  return select;
}
