/** What somebody changed behind the agent's back: one phrase each, for a person. Pure. */
import type { ContainerRecord } from "./records.ts";
import type { View } from "./context.ts";
import type { NetworkRef } from "./shared-names.ts";

/** `network`: the spec's names as this engine calls them. */
export function decideDrift(view: View, record: ContainerRecord | undefined, network: (name: string) => NetworkRef): string[] {
  const { seen, spec } = view;
  const drift: string[] = [];
  if (view.damage !== undefined) drift.push(view.damage);
  if (record === undefined) drift.push("made by somebody else under this component's labels (this agent has no record of it)");
  if (seen.State?.Paused === true) drift.push("paused");
  if (spec === undefined) return drift;
  const host = seen.HostConfig ?? {};
  const limit = (what: string, wanted: number, is: number | null | undefined, show: (value: number) => string): void => {
    // Absent, null, 0 and -1 all mean "no limit".
    const now = Math.max(0, is ?? 0);
    if (now !== wanted) drift.push(`${what} is ${now === 0 ? "unlimited" : show(now)} instead of ${wanted === 0 ? "unlimited" : show(wanted)}`);
  };
  const { resources = {} } = spec;
  limit("memory limit", resources.memory_bytes ?? 0, host.Memory, bytes);
  limit("memory reservation", resources.memory_reservation_bytes ?? 0, host.MemoryReservation, bytes);
  limit("cpu limit", Math.round((resources.cpus ?? 0) * 1e9), host.NanoCpus, (value) => String(value / 1e9));
  if ((host.CpuQuota ?? 0) > 0 && (host.NanoCpus ?? 0) === 0) drift.push(`cpu quota is ${host.CpuQuota} instead of none`);
  limit("process limit", resources.pids ?? 0, host.PidsLimit, String);
  const restart = host.RestartPolicy?.Name ?? "";
  if (restart !== "" && restart !== "no") drift.push(`the engine restarts it (${restart}) instead of the agent`);
  const image = seen.Config?.Image;
  if (image !== undefined && fullName(image) !== fullName(spec.image) && !/^(sha256:)?[0-9a-f]{64}$/.test(image)) drift.push(`image is ${image} instead of ${spec.image}`);
  // Podman tells the networks of a running container only.
  if (seen.State?.Running !== true) return drift;
  const connected = seen.NetworkSettings?.Networks ?? {};
  const ids = Object.values(connected).map((end) => end?.NetworkID);
  for (const name of spec.networks) {
    const { id, name: called } = network(name);
    if (!(called in connected) && !(id in connected) && !ids.includes(id)) drift.push(`network ${name} is detached`);
  }
  return drift;
}

/** Podman spells a short name out: its registry, its library, its tag. */
function fullName(image: string): string {
  const plain = image.replace(/^docker\.io\//, "").replace(/^(library|localhost)\//, "");
  return plain.includes("@") || plain.lastIndexOf(":") > plain.lastIndexOf("/") ? plain : `${plain}:latest`;
}

const bytes = (value: number): string => (value % 1_048_576 === 0 ? `${value / 1_048_576} MiB` : `${value} bytes`);
