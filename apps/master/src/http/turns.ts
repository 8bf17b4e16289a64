/**
 * Whose turn it is, service by service. In the memory of one master, and that is enough: a turn decides nothing but an
 * order among endpoints that are all healthy. Several masters, or one that was started anew, deal from different places
 * of the same circle, which spreads callers no worse; a counter in the ledger would make every question a write.
 */
export interface Turns {
  next(service: string): number;
}

/** The largest number of services counted; a name is some dozen bytes. */
const MAX_COUNTED = 10_000;

export function createTurns(): Turns {
  const counts = new Map<string, number>();
  return {
    next: (service) => {
      const turn = counts.get(service) ?? 0;
      if (turn === 0 && counts.size >= MAX_COUNTED) counts.clear();
      // Far below where adding one to a double no longer does anything.
      counts.set(service, (turn + 1) % 1_000_000_000);
      return turn;
    },
  };
}
