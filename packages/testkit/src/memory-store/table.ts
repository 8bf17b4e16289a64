/**
 * One table of the store in memory. A transaction works on a fork: an overlay that sees its own writes, that nobody
 * else sees, and that is either absorbed whole or dropped. Rows are values: they are replaced, never changed.
 */
export class Table<V extends object> {
  readonly #base: Table<V> | undefined;
  readonly #rows = new Map<string, V | undefined>();

  constructor(base?: Table<V>) {
    this.#base = base;
  }

  fork(): Table<V> {
    return new Table(this);
  }

  get(key: string): V | undefined {
    return this.#rows.has(key) ? this.#rows.get(key) : this.#base?.get(key);
  }

  set(key: string, row: V): void {
    this.#rows.set(key, row);
  }

  delete(key: string): void {
    if (this.#base === undefined) this.#rows.delete(key);
    else this.#rows.set(key, undefined);
  }

  /** Rows in insertion order. */
  *values(): Generator<V> {
    if (this.#base === undefined) {
      yield* this.#rows.values() as Iterable<V>;
      return;
    }
    for (const [key, row] of this.#base.entries()) {
      const now = this.#rows.has(key) ? this.#rows.get(key) : row;
      if (now !== undefined) yield now;
    }
    for (const [key, row] of this.#rows) if (row !== undefined && this.#base.get(key) === undefined) yield row;
  }

  *entries(): Generator<[string, V]> {
    if (this.#base !== undefined) throw new Error("only a base table lists its keys: a fork is absorbed or dropped");
    for (const [key, row] of this.#rows) if (row !== undefined) yield [key, row];
  }

  /** Makes a fork's writes this table's own. */
  absorb(fork: Table<V>): void {
    for (const [key, row] of fork.#rows) {
      if (row === undefined) this.#rows.delete(key);
      else this.#rows.set(key, row);
    }
  }
}
