// The address after the `#`: which namespace, which Session. Pure.

export interface Route {
  namespace: string;
  session: string | undefined;
}

/** `#/team-blue/rain-report`, `#/team-blue`, or nothing. */
export function parseRoute(hash: string, home: string): Route {
  const [namespace, session] = hash.replace(/^#\/?/, "").split("/").map(decode);
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
