// Words for numbers and names. Pure.

/** The time since then in one unit, as kubectl writes it: `42s`, `7m`, `3h`, `5d`. */
export function age(since: string | undefined, now: number): string {
  const then = Date.parse(since ?? "");
  if (Number.isNaN(then)) return "";
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

/** Time of day, and the date if it is not today. */
export function clock(at: string, now: number): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return new Date(now).toDateString() === date.toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}

/** `system:serviceaccount:team:jane` is `jane` to people. */
export function shortUser(name: string): string {
  const parts = name.split(":");
  return parts[0] === "system" && parts[1] === "serviceaccount" && parts[3] ? parts[3] : name;
}

/** 84 kB, 1.2 MB. */
export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let [value, unit] = [size, 0];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? "GB"}`;
}

/** 412, 8.3k, 1.2M. */
export function count(number: number): string {
  if (number < 1000) return String(number);
  const [value, unit] = number < 999_500 ? [number / 1000, "k"] : [number / 1_000_000, "M"];
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)}${unit}`;
}

/** Seconds as people say them: `42s`, `7m`, `3h 5m`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m`;
  return minutes % 60 === 0 ? `${Math.floor(minutes / 60)}h` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
}

/** Milliseconds to wait before the next attempt: doubling, at most 5 s, with jitter so that many pages do not come at once. */
export function backoff(attempt: number, random: number): number {
  return Math.min(250 * 2 ** attempt, 5000) * (0.75 + random / 2);
}

/** A file name that `spec.attachments` accepts. */
export function attachmentName(name: string): string {
  const clean = name.replace(/[^A-Za-z0-9._ -]/g, "_").slice(0, 128);
  return /^[A-Za-z0-9_]/.test(clean) ? clean : `_${clean}`.slice(0, 128);
}

/** The class of colour for a state word. */
export function tone(state: string): "good" | "busy" | "bad" | "calm" {
  switch (state) {
    case "Finished":
    case "Running":
    case "True":
      return "good";
    case "Working":
    case "Chatting":
    case "Provisioning":
    case "Pending":
    case "Starting":
      return "busy";
    case "Stalled":
    case "Failed":
      return "bad";
    default:
      return "calm";
  }
}
