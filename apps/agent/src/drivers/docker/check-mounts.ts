/** Whether what is to be mounted is there, said before anything gives way to a container that could not start. */
import { access } from "node:fs/promises";
import { DriverError } from "@skep/core";
import type { ContainerSpec } from "@skep/core";

/** Whether it may be mounted was decided before (executor/check-allowances.ts). Throws `mount_not_found`. */
export async function checkMounts(name: string, container: ContainerSpec): Promise<void> {
  for (const mount of container.mounts ?? []) {
    if (mount.type !== "bind") continue;
    const there = await access(mount.source).then(() => true, () => false);
    if (!there) throw new DriverError("mount_not_found", `${name}: ${mount.source} does not exist on this host, so it cannot be mounted`);
  }
}
