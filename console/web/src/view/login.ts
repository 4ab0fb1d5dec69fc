// Sign in with a Kubernetes token. The token goes to the console once and comes back as a sealed cookie; the page keeps nothing.

import { h } from "../dom.ts";
import type { View } from "../main.ts";
import { acting } from "../toast.ts";

export function loginView(signIn: (token: string) => Promise<void>): View {
  const token = h("textarea", {
    id: "token", testid: "login-token", rows: "4", required: true, autofocus: true, spellcheck: "false", autocomplete: "off",
    placeholder: "eyJhbGciOi…", "aria-describedby": "token-help",
  });
  const submit = h("button", { class: "primary wide", type: "submit", testid: "login-submit" }, "Sign in");
  const form = h(
    "form",
    {
      class: "card login",
      on: (event) => {
        event.preventDefault();
        const value = token.value.trim();
        if (value !== "") void acting(submit, () => signIn(value));
      },
    },
    h("div", { class: "brand big" }, h("span", { class: "mark", "aria-hidden": "true" }), "a8s"),
    h("h1", {}, "Sign in"),
    h("p", { class: "muted" }, "Agents that work in desktops of their own. You see and do here what your Kubernetes account may."),
    h("label", { for: "token" }, "Kubernetes token"),
    token,
    h("div", { id: "token-help", class: "help" }, h("p", {}, "Make one for a service account of your namespace:"),
      h("pre", {}, h("code", {}, "kubectl create token NAME -n NAMESPACE --duration 8h"))),
    submit,
  );
  token.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return { element: h("main", { class: "centre" }, form), close: () => undefined };
}
