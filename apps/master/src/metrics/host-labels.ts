/**
 * Which hosts have a label of their own. Bounded, because every label value is some series on every scrape: 5,000 hosts
 * are 25,000 lines. Whoever comes beyond the bound is told of together as "other".
 */
export const OTHER_HOSTS = "other";

export interface HostLabels {
  labelOf(hostId: string, name: string): string;
  /** The host is gone; its label, if it had one, whose place is free from here on. */
  forget(hostId: string): string | undefined;
  folded(): number;
}

export function createHostLabels(max: number): HostLabels {
  const labels = new Map<string, string>();
  const folded = new Set<string>();
  return {
    labelOf: (hostId, name) => {
      const known = labels.get(hostId);
      if (known !== undefined) return known;
      // A host of that very name could not be told from the rest.
      if (labels.size >= max || name === OTHER_HOSTS) {
        folded.add(hostId);
        return OTHER_HOSTS;
      }
      folded.delete(hostId);
      labels.set(hostId, name);
      return name;
    },
    forget: (hostId) => {
      const label = labels.get(hostId);
      labels.delete(hostId);
      folded.delete(hostId);
      return label;
    },
    folded: () => folded.size,
  };
}
