/**
 * Work over the whole fleet that many may ask for at once, done one at a time: a dozen watchers cost what one costs. A
 * question joins only work that has not begun, so that whatever comes out was read after it was asked.
 */
export type OneAtATime = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** `key`: the same question, which has the same answer. */
export function createOneAtATime(): OneAtATime {
  let last: Promise<unknown> = Promise.resolve();
  const waiting = new Map<string, Promise<unknown>>();
  return <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const joined = waiting.get(key);
    if (joined !== undefined) return joined as Promise<T>;
    const mine = last.then(() => {
      waiting.delete(key);
      return work();
    });
    waiting.set(key, mine);
    // A failure is its askers' and nobody else's.
    last = mine.catch(() => undefined);
    return mine;
  };
}
