/** What somebody changed behind the agent's back: one phrase each, for a person. Pure. */
import type { ContainerRecord } from "./records.ts";
import type { View } from "./context.ts";

/** `networks`: the spec's names as this engine calls them. */
export function decideDrift(view: View, record: ContainerRecord | undefined, networkName: (name: string) => string): string[] {
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
  if (image !== undefined && image !== spec.image && !/^(sha256:)?[0-9a-f]{64}$/.test(image)) drift.push(`image is ${image} instead of ${spec.image}`);
  const connected = seen.NetworkSettings?.Networks ?? {};
  const ids = Object.values(connected).map((end) => end?.NetworkID);
  for (const name of spec.networks) {
    const called = networkName(name);
    if (!(called in connected) && !ids.includes(called)) drift.push(`network ${name} is detached`);
  }
  return drift;
}

const bytes = (value: number): string => (value % 1_048_576 === 0 ? `${value / 1_048_576} MiB` : `${value} bytes`);
