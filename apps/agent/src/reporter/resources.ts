/**
 * What a host has and what of it is free. Free memory is rounded down to a sixteenth of the whole, free disk to a
 * hundredth, load to a half: an idle host must repeat itself, or every beat would rewrite its snapshot for mere noise.
 */
import { statfs } from "node:fs/promises";
import { availableParallelism, freemem, loadavg, totalmem } from "node:os";

const MEMORY_STEPS = 16;
/** Fine enough that rounding never makes a disk look low that is not. */
const DISK_STEPS = 100;

/** A free share of a whole, rounded down to one of `steps` equal parts. */
export const coarse = (free: number, whole: number, steps: number): number => (whole <= 0 ? 0 : Math.floor((Math.floor((free / whole) * steps) * whole) / steps));

/** In bytes and millicores; the disk is the one that holds the agent's state. A figure that cannot be read is left out, never guessed. */
export async function readResources(stateDir: string): Promise<Readonly<Record<string, number>>> {
  const disk = await statfs(stateDir).catch(() => undefined);
  const memory = totalmem();
  return {
    cpu_millicores: availableParallelism() * 1_000,
    memory_bytes: memory,
    memory_free_bytes: coarse(freemem(), memory, MEMORY_STEPS),
    ...(disk === undefined ? {} : { disk_bytes: disk.blocks * disk.bsize, disk_free_bytes: coarse(disk.bavail * disk.bsize, disk.blocks * disk.bsize, DISK_STEPS) }),
    load1: Math.round((loadavg()[0] ?? 0) * 2) / 2,
  };
}
