/**
 * A store that tells of rows that end. All of them end by `casLifecycle`, whoever asks for it; they are told of after
 * the commit, because what was rolled back did not happen.
 */
import { isTerminal, type LifecycleRow, type Store, type Tx } from "@skep/core";
import type { ControlObserver } from "../ports.ts";

export function observedStore(store: Store, observe: Pick<ControlObserver, "onRowEnded">): Store {
  const transaction: Store["transaction"] = async (work, options) => {
    const ended: LifecycleRow[] = [];
    const result = await store.transaction((tx) => {
      const casLifecycle: Tx["casLifecycle"] = async (change) => {
        const row = await tx.casLifecycle(change);
        // A terminal row never changes again: if it is one now, this change made it one.
        if (row !== undefined && isTerminal(row.status)) ended.push(row);
        return row;
      };
      return work({ ...tx, casLifecycle });
    }, options);
    for (const row of ended) observe.onRowEnded(row);
    return result;
  };
  return { ...store, transaction };
}
