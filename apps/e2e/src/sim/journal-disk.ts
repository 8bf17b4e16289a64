/**
 * The disk under one agent's journal. What was synced survives everything; what was only written survives a crash as
 * far as chance has it, a prefix, and a power cut never. Records are kept as text: nothing in memory is shared.
 */
import type { JournalRecord, JournalStore } from "@skep/agent";
import { below } from "@skep/core";
import type { SimProcess } from "./process.ts";
import type { World } from "./world.ts";

export interface JournalDisk {
  open(process: SimProcess): JournalStore;
  /** The agent died: unsynced writes are lost, or a part of them is. */
  crash(powerCut: boolean): void;
  setFull(full: boolean): void;
}

export interface JournalEvents {
  /** The append has been asked for: from here on the agent may say it. */
  asked(record: JournalRecord): void;
  /** The append has been answered: from here on the agent may act on it. */
  answered(record: JournalRecord): void;
}

export function createJournalDisk(world: World, host: string, events: JournalEvents): JournalDisk {
  const rng = world.rng(`disk ${host}`);
  let durable: string[] = [];
  let written: string[] = [];
  let full = false;
  let powered = 0;

  return {
    open: (process) => ({
      load: () =>
        process.port("journal load", async () => {
          await world.sleep(1 + below(rng, 50));
          return [...durable, ...written].map((line) => JSON.parse(line) as JournalRecord);
        }),
      append: (records, { sync }) =>
        process.port("journal append", async () => {
          const life = powered;
          await world.sleep(1 + below(rng, 8));
          if (full) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
          if (life !== powered || !process.alive()) return;
          for (const record of records) {
            events.asked(record);
            written.push(JSON.stringify(record));
          }
          if (sync) {
            await world.sleep(1 + below(rng, 20));
            if (life !== powered || !process.alive()) return;
            durable.push(...written);
            written = [];
          }
          for (const record of records) events.answered(record);
        }),
      replace: (records) =>
        process.port("journal replace", async () => {
          await world.sleep(5 + below(rng, 50));
          if (!process.alive()) return;
          durable = records.map((record) => JSON.stringify(record));
          written = [];
        }),
    }),
    crash: (powerCut) => {
      powered += 1;
      const kept = powerCut || rng.float() < 0.5 ? 0 : below(rng, written.length + 1);
      if (written.length > kept) world.trace(`${host} lost ${written.length - kept} unsynced journal records`);
      durable.push(...written.slice(0, kept));
      written = [];
    },
    setFull: (value) => {
      full = value;
    },
  };
}
