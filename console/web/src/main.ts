// Start of the page: who is it, and which view does the address name.

import "./styles/base.css";
import "./styles/session.css";
import "./styles/desktop.css";
import "./styles/player.css";
import "./styles/share.css";
import "./styles/narrow.css";
import { api, ApiError } from "./api.ts";
import { fill, h } from "./dom.ts";
import { parseRoute } from "./route.ts";
import { clearToasts, complain } from "./toast.ts";
import type { Me } from "./types.ts";
import { loginView } from "./view/login.ts";
import { SessionView } from "./view/session.ts";
import { SessionsView } from "./view/sessions.ts";
import { SharedView } from "./view/shared.ts";

/** A view on the page; it is told when it goes. */
export interface View {
  readonly element: HTMLElement;
  close(): void;
}

const app = document.getElementById("app") ?? document.body;
let me: Me | undefined;
let view: View | undefined;

function show(next: View): void {
  view?.close();
  view = next;
  fill(app, next.element);
  next.element.querySelector<HTMLElement>("[autofocus]")?.focus();
}

function signedOut(): void {
  me = undefined;
  show(loginView(async (token) => {
    await api.login(token);
    clearToasts();
    await start();
  }));
}

const leave = async (): Promise<void> => {
  await api.logout().catch(complain);
  signedOut();
};

function go(): void {
  if (!me) return;
  const route = parseRoute(location.hash, me.namespace);
  document.title = route.session ? `${route.session} · a8s` : route.share ? "Shared desktop · a8s" : "a8s";
  const shell = { me, signedOut, leave: () => void leave() };
  if (route.share) {
    show(new SharedView(shell, route.namespace, route.share));
    return;
  }
  show(route.session ? new SessionView(shell, route.namespace, route.session) : new SessionsView(shell, route.namespace));
}

async function start(): Promise<void> {
  try {
    me = await api.me();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      signedOut();
      return;
    }
    complain(error);
    fill(app, h("main", { class: "centre" }, h("button", { class: "primary", on: () => void start() }, "Try again")));
    return;
  }
  go();
}

window.addEventListener("hashchange", go);
void start();
