/**
 * The journal as one append-only file of CRC'd JSON lines. Invariants: concurrent appends share one write and one
 * fsync, in order; a failed append leaves no half line behind for the next one to bury; a torn tail (a crash in the
 * middle of a write) is cut off at load, because nobody was ever promised it; a bad line with good ones after it was
 * promised, so it is an error with a copy kept aside, never a silent loss.
 */
import { copyFile, mkdir, open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { Logger } from "@skep/core";
import type { JournalRecord, JournalStore } from "./records.ts";

/** A journal that must not be used as it is. The host is safe to start with an empty one: the master returns the floors. */
export class JournalCorruptError extends Error {
  override readonly name = "JournalCorruptError";
}

interface Waiting {
  readonly data: Buffer;
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface FileJournal extends JournalStore {
  close(): Promise<void>;
}

export function createFileJournal({ path, logger }: { path: string; logger: Logger }): FileJournal {
  let file: FileHandle | undefined;
  /** End of the last record that was written whole. */
  let length = 0;
  /** Where a failed write may have left rubbish: cut before anything is written after it. */
  let dirty = false;
  let waiting: Waiting[] = [];
  let writing: Promise<void> | undefined;

  async function load(): Promise<JournalRecord[]> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // A temporary left by a crash during compaction was never the journal.
    await rm(`${path}.tmp`, { force: true });
    await (await open(path, "a", 0o600)).close();
    await syncDir();
    file = await open(path, "r+");
    const content = await file.readFile();
    const read = parseJournal(content);
    if (read.badLine !== undefined) {
      const aside = `${path}.corrupt`;
      await copyFile(path, aside);
      await file.close();
      throw new JournalCorruptError(`line ${read.badLine} of ${path} is damaged and records follow it; a copy is in ${aside}. Move ${path} away to start with an empty journal: the master will return this host's floors.`);
    }
    length = read.goodLength;
    if (length < content.length) {
      logger.warn({ path, bytes: content.length - length }, "the journal's torn tail was cut off");
      await file.truncate(length);
      await file.datasync();
    }
    return read.records;
  }

  function append(records: readonly JournalRecord[], { sync }: { readonly sync: boolean }): Promise<void> {
    const data = encode(records);
    return new Promise((resolve, reject) => {
      waiting.push({ data, sync, resolve, reject });
      writing ??= drain();
    });
  }

  async function drain(): Promise<void> {
    // One turn of the loop: everything that was asked for in the same moment shares the fsync.
    await Promise.resolve();
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        await writeBatch(Buffer.concat(batch.map((item) => item.data)), batch.some((item) => item.sync));
        for (const item of batch) item.resolve();
      } catch (error) {
        // What was refused must not come back at the next start: cut now, or before the next write if that fails too.
        await file?.truncate(length).catch(() => undefined);
        for (const item of batch) item.reject(error);
      }
    }
    writing = undefined;
  }

  async function writeBatch(data: Buffer, sync: boolean): Promise<void> {
    if (file === undefined) throw new Error("the journal is not open");
    if (dirty) {
      await file.truncate(length);
      dirty = false;
    }
    dirty = true;
    for (let done = 0; done < data.length; ) done += (await file.write(data, done, data.length - done, length + done)).bytesWritten;
    if (sync) await file.datasync();
    length += data.length;
    dirty = false;
  }

  async function replace(records: readonly JournalRecord[]): Promise<void> {
    while (writing !== undefined) await writing;
    const data = encode(records);
    const next = await open(`${path}.tmp`, "w", 0o600);
    try {
      await next.writeFile(data);
      await next.sync();
    } finally {
      await next.close();
    }
    const reopened = await open(`${path}.tmp`, "r+");
    await rename(`${path}.tmp`, path);
    await syncDir();
    await file?.close();
    file = reopened;
    length = data.length;
    dirty = false;
  }

  async function syncDir(): Promise<void> {
    const dir = await open(dirname(path), "r");
    try {
      await dir.sync();
    } finally {
      await dir.close();
    }
  }

  async function close(): Promise<void> {
    while (writing !== undefined) await writing;
    await file?.close();
    file = undefined;
  }

  return { load, append, replace, close };
}

function encode(records: readonly JournalRecord[]): Buffer {
  return Buffer.from(records.map((record) => encodeLine(JSON.stringify(record))).join(""));
}

const encodeLine = (json: string): string => `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;

/** Exported for the tests that damage journals. `badLine` counts from 1. */
export function parseJournal(content: Buffer): { records: JournalRecord[]; goodLength: number; badLine: number | undefined } {
  const records: JournalRecord[] = [];
  let at = 0;
  let line = 0;
  let goodLength = 0;
  let bad: number | undefined;
  while (at < content.length) {
    line += 1;
    const newline = content.indexOf(0x0a, at);
    const record = newline === -1 ? undefined : decodeLine(content.toString("utf8", at, newline));
    const end = newline === -1 ? content.length : newline + 1;
    if (record === undefined) bad ??= line;
    else if (bad !== undefined) return { records, goodLength, badLine: bad };
    else {
      records.push(record);
      goodLength = end;
    }
    at = end;
  }
  return { records, goodLength, badLine: undefined };
}

function decodeLine(text: string): JournalRecord | undefined {
  const json = text.slice(9);
  if (text[8] !== " " || crc32(json).toString(16).padStart(8, "0") !== text.slice(0, 8)) return undefined;
  return JSON.parse(json) as JournalRecord;
}
