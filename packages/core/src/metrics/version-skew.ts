/** How far an agent's version is from the master's own. */

/**
 * Minor versions between the two, 0 for the same minor; another major counts as more than any minor. undefined = one of
 * them is not a version, and nothing can be said.
 */
export function minorsApart(a: string, b: string): number | undefined {
  const [one, other] = [parse(a), parse(b)];
  if (one === undefined || other === undefined) return undefined;
  return one.major === other.major ? Math.abs(one.minor - other.minor) : Number.POSITIVE_INFINITY;
}

function parse(version: string): { readonly major: number; readonly minor: number } | undefined {
  const [, major, minor] = /^v?(\d{1,9})\.(\d{1,9})(?:\.|-|\+|$)/.exec(version) ?? [];
  return major === undefined || minor === undefined ? undefined : { major: Number(major), minor: Number(minor) };
}
