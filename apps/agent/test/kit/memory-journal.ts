/** A journal on a disk of memory: unsynced records die with a crash, and writes can be made to fail. */
import type { JournalRecord, JournalStore } from "../../src/journal/records.ts";

export class MemoryJournal implements JournalStore {
  records: JournalRecord[] = [];
  synced = 0;
  syncs = 0;
  failing: string | undefined;
  constructor(records: readonly JournalRecord[] = []) {
    this.records = structuredClone([...records]);
    this.synced = this.records.length;
  }
  async load(): Promise<readonly JournalRecord[]> {
    return structuredClone(this.records);
  }
  async append(records: readonly JournalRecord[], { sync }: { readonly sync: boolean }): Promise<void> {
    await Promise.resolve();
    if (this.failing !== undefined) throw Object.assign(new Error(this.failing), { code: this.failing });
    this.records.push(...structuredClone(records as JournalRecord[]));
    if (sync) {
      this.synced = this.records.length;
      this.syncs += 1;
    }
  }
  async replace(records: readonly JournalRecord[]): Promise<void> {
    this.records = structuredClone([...records]);
    this.synced = this.records.length;
  }
  /** What a power cut leaves. */
  survivors(): JournalRecord[] {
    return this.records.slice(0, this.synced);
  }
}
