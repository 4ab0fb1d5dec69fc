// The address after the `#`: which namespace, which Session or Share. Pure but for the address of the page itself.

export interface Route {
  namespace: string;
  session: string | undefined;
  /** A Share that somebody is invited by. */
  share?: string;
}

/** `#/team-blue/rain-report`, `#/team-blue`, `#/shared/team-blue/rain-report-x2k4j`, or nothing. */
export function parseRoute(hash: string, home: string): Route {
  const [namespace, session, share] = hash.replace(/^#\/?/, "").split("/").map(decode);
  if (namespace === "shared" && session && share) return { namespace: session, session: undefined, share };
  return { namespace: namespace ? namespace : home, session: session ? session : undefined };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a view. */
export function hashFor(namespace: string, session?: string): string {
  const ns = encodeURIComponent(namespace);
  return session === undefined ? `#/${ns}` : `#/${ns}/${encodeURIComponent(session)}`;
}

/** The whole address of a guest's page. */
export function linkTo(namespace: string, share: string): string {
  return `${location.origin}${location.pathname}#/shared/${encodeURIComponent(namespace)}/${encodeURIComponent(share)}`;
}
