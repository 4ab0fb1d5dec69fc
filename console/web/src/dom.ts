// The little that is needed instead of a framework: make elements, replace children, and keep lists in step by key.

type Child = Node | string | null | undefined | false;
type Handler = (event: Event) => void;

export interface Props {
  class?: string;
  testid?: string;
  /** Called for the element's main event: submit of a form, change of a field, else click. */
  on?: Handler;
  [attribute: string]: string | boolean | Handler | undefined;
}

/** Makes an element. Attributes that are undefined or false are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name === "on" ? mainEvent(tag) : name, value);
    } else if (name === "class") {
      element.className = String(value);
    } else {
      element.setAttribute(name === "testid" ? "data-testid" : name, value === true ? "" : value);
    }
  }
  fill(element, ...children);
  return element;
}

function mainEvent(tag: string): string {
  return tag === "form" ? "submit" : tag === "input" || tag === "select" ? "change" : "click";
}

/** Replaces the children. */
export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
}

/** Shows or hides. */
export function visible(element: HTMLElement, yes: boolean): void {
  element.hidden = !yes;
}

/** Sets text only if it differs, so that screen readers and selections are left in peace. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/** Outlines of the icons, on a 24×24 grid. */
const ICONS = {
  stop: "M7 7h10v10H7z",
  hand: "M7 11V6a1.500 1.500 0 0 1 3 0v4V4.500a1.500 1.500 0 0 1 3 0V10V5.500a1.500 1.500 0 0 1 3 0V11V8a1.500 1.500 0 0 1 3 0v6a7 7 0 0 1-7 7h-1a6 6 0 0 1-5-3l-3-5a1.500 1.500 0 0 1 2.500-1.500L7 13z",
  back: "M9 7 4 12l5 5M4 12h11a5 5 0 0 1 0 10h-2",
  save: "M5 4h11l4 4v12H5zM8 4v5h7V4M8 20v-6h8v6",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  before: "M18 6l-9 6 9 6zM6 6v12",
  after: "M6 6l9 6-9 6zM18 6v12",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  fork: "M7 4v10a4 4 0 0 0 4 4h6M7 8h6a4 4 0 0 0 4-4M14 15l3 3-3 3",
  send: "M4 12 20 5l-5 15-3-6z",
  plus: "M12 5v14M5 12h14",
  arrow: "M15 5l-7 7 7 7",
  clip: "M8 12l6-6a3 3 0 0 1 4 4l-8 8a5 5 0 0 1-7-7l7-7",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  paste: "M9 4h6v3H9zM7 5H5v16h14V5h-2",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  check: "M5 12l5 5 9-10",
  key: "M14 10a5 5 0 1 0-4 4l1 1h3v3h3v3h4v-4z",
  cross: "M6 6l12 12M18 6L6 18",
  share: "M16 6l-8 5M8 13l8 5M18 3a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM6 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM18 17a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  keyboard: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10M18 10h.01",
  pointer: "M5 3l14 8-6 2-2 6z",
  move: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  actual: "M3 5h18v14H3zM8 9v6M12 11h.01M12 14h.01M16 9v6",
  fit: "M3 5h18v14H3zM7 12h10M9 10l-2 2 2 2M15 10l2 2-2 2",
  people: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2 20c0-4 3-6 7-6s7 2 7 6M16 4a3.500 3.500 0 0 1 0 7M18 14c2.500.6 4 2.600 4 6",
  chat: "M4 5h16v11H9l-5 4z",
  screen: "M3 4h18v12H3zM8 20h8M12 16v4",
  film: "M3 5h18v14H3zM10 9l5 3-5 3z",
} as const;

export type Icon = keyof typeof ICONS;

/** An icon; it is decoration, the words are in the label beside it. */
export function icon(name: Icon): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A list whose elements are kept as long as their key and signature stay the same. */
export class KeyedList<T> {
  private held = new Map<string, { element: HTMLElement; signature: string }>();

  constructor(
    private readonly parent: HTMLElement,
    private readonly key: (item: T) => string,
    private readonly render: (item: T, old: HTMLElement | undefined) => HTMLElement,
  ) {}

  update(items: readonly T[]): void {
    const next = new Map<string, { element: HTMLElement; signature: string }>();
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      const signature = JSON.stringify(item);
      const old = this.held.get(key);
      const element = old?.signature === signature ? old.element : this.render(item, old?.element);
      next.set(key, { element, signature });
      if (old && old.element !== element) {
        if (place === old.element) place = place.nextElementSibling;
        old.element.remove();
      }
      if (place === element) place = place.nextElementSibling;
      else this.parent.insertBefore(element, place);
    }
    for (const [key, { element }] of this.held) {
      if (!next.has(key)) element.remove();
    }
    this.held = next;
  }
}
