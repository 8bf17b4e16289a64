/** Mutual exclusion by key. All keys of one call are taken in one step, so that two calls can never wait for each other. */
export interface KeyedLock {
  run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
}

export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();
  return {
    run: async (keys, work) => {
      const before = keys.flatMap((key) => tails.get(key) ?? []);
      let release = (): void => {};
      const mine = new Promise<void>((resolve) => (release = resolve));
      for (const key of keys) tails.set(key, mine);
      try {
        await Promise.all(before);
        return await work();
      } finally {
        release();
        for (const key of keys) if (tails.get(key) === mine) tails.delete(key);
      }
    },
  };
}
