/**
 * What a spec needs that this host's owner must have allowed: the master's own function over the same spec, and then what
 * only this host can see, where the links in a path lead. Asked of every command, every dry run and every boot; an
 * allowance that was taken back counts for what would be started from now on.
 */
import { decideAllowances, isMountAllowed, type AllowanceProblem, type Allowances, type Spec } from "@skep/core";

export interface AllowanceDeps {
  readonly allowed: () => Allowances;
  /** The path with every link followed; undefined = there is nothing. Rejects when that cannot be told. */
  readonly realpath: (path: string) => Promise<string | undefined>;
}

/** Empty = it is allowed. */
export async function allowanceProblems(spec: Spec, { allowed, realpath }: AllowanceDeps): Promise<AllowanceProblem[]> {
  const allowances = allowed();
  const problems = decideAllowances(spec, allowances);
  const roots = await Promise.all(allowances.hostMounts.map((root) => follow(root, realpath).catch(() => root)));
  for (const [index, { name, container }] of spec.components.entries()) {
    for (const mount of container?.mounts ?? []) {
      if (mount.type !== "bind" || !isMountAllowed(mount.source, allowances.hostMounts)) continue;
      const astray = await follow(mount.source, realpath).then(
        (real) => (isMountAllowed(real, roots) ? undefined : `it leads to ${real}, outside of allow.host_mounts`),
        (error: unknown) => `it cannot be followed (${String((error as NodeJS.ErrnoException).code ?? error)})`,
      );
      if (astray !== undefined) problems.push({ path: ["components", index, "container", "mounts"], message: `${name}: mounting ${mount.source} is not allowed on this host: ${astray}` });
    }
  }
  return problems;
}

/** Of what is not there yet, the part that is: it would be made below where that leads. */
async function follow(path: string, realpath: AllowanceDeps["realpath"]): Promise<string> {
  const parts = path.split("/").filter((part) => part !== "");
  for (let kept = parts.length; kept > 0; kept--) {
    const real = await realpath(`/${parts.slice(0, kept).join("/")}`);
    if (real !== undefined) return [real === "/" ? "" : real, ...parts.slice(kept)].join("/");
  }
  return `/${parts.join("/")}`;
}
