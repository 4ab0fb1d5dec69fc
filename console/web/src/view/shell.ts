// What all views share: the bar at the top, and who is signed in.

import { h } from "../dom.ts";
import { shortUser } from "../format.ts";
import { hashFor } from "../route.ts";
import type { Me } from "../types.ts";

export interface Shell {
  me: Me;
  /** The sign-in is over; go to the login page. */
  signedOut: () => void;
  /** The person signs out. */
  leave: () => void;
}

/** The bar. */
export function topBar(shell: Shell, namespace: string, ...middle: (Node | null)[]): HTMLElement {
  return h(
    "header",
    { class: "top" },
    h("a", { class: "brand", href: hashFor(namespace), "aria-label": "All sessions" }, h("span", { class: "mark", "aria-hidden": "true" }), "a8s"),
    ...middle,
    h("span", { class: "grow" }),
    shell.me.readOnly && h("span", { class: "badge calm", testid: "read-only", title: "This console shows, it does not change" }, "read-only"),
    h("span", { class: "who", testid: "who", title: shell.me.user }, shortUser(shell.me.user)),
    h("button", { class: "ghost", type: "button", testid: "logout", on: () => shell.leave() }, "Sign out"),
  );
}
