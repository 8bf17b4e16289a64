/** Strategies and filters: who is chosen, who is rejected and why, and that the order of what is known never matters. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HOST_STATUSES, constraintRejection, isPinned, networkTrouble, place, type Candidate, type HostId, type PlaceRequest, type Spec } from "../src/index.ts";

const spec: Spec = { driver: "noop", components: [] };
const host = (name: string, patch: Partial<Candidate> = {}): Candidate => ({ id: name as HostId, name, status: "active", schedulable: true, labels: {}, load: 0, holds: false, capabilities: [], ...patch });
const ids = (...names: string[]): HostId[] => names as HostId[];
const chosen = (candidates: readonly Candidate[], request: Omit<PlaceRequest, "spec">): string[] | string => {
  const outcome = place(candidates, { ...request, spec });
  return outcome.kind === "placed" ? outcome.hosts.map((one) => one.name) : outcome.rejected.map((one) => `${one.host}: ${one.because}`);
};

describe("strategies", () => {
  test("spread takes the emptiest, ties by name", () => {
    expect(chosen([host("c"), host("b", { load: 1 }), host("a", { load: 1 })], { replicas: 2 })).toEqual(["c", "a"]);
  });
  test("ordered takes the first of its list that is eligible, however full it is", () => {
    const order = { strategy: "ordered", named: ids("c", "a", "b") } as const;
    expect(chosen([host("a"), host("b"), host("c", { load: 9 })], order)).toEqual(["c"]);
    expect(chosen([host("a"), host("b"), host("c", { schedulable: false })], order)).toEqual(["a"]);
    expect(chosen([host("a"), host("b"), host("c"), host("d")], { ...order, replicas: 3 })).toEqual(["c", "a", "b"]);
    expect(chosen([host("d")], order)).toEqual([]);
  });
  test("cheapest takes the least cost, ties by fewest placements and then by name", () => {
    const cost = (name: string, cost_per_hour: string, load = 0): Candidate => host(name, { labels: { cost_per_hour }, load });
    expect(chosen([cost("a", "2"), cost("b", "0.5", 3), cost("c", "0.50", 1), cost("d", "10")], { strategy: "cheapest", replicas: 4 })).toEqual(["c", "b", "a", "d"]);
    expect(chosen([cost("b", "0"), cost("a", "0")], { strategy: "cheapest" })).toEqual(["a"]);
    expect(chosen([host("a"), cost("b", "-1"), cost("c", "1e3"), cost("d", "")], { strategy: "cheapest" })).toEqual([
      "a: label cost_per_hour is not set, cheapest needs it", 'b: label cost_per_hour is "-1", which is not a non-negative number', 'c: label cost_per_hour is "1e3", which is not a non-negative number', 'd: label cost_per_hour is "", which is not a non-negative number',
    ]);
  });
  test("a pin is all of its hosts or nothing", () => {
    expect(chosen([host("a"), host("b"), host("c")], { named: ids("b", "c") })).toEqual(["b", "c"]);
    expect(chosen([host("a"), host("b", { schedulable: false })], { named: ids("a", "b") })).toEqual(["b: cordoned"]);
    expect([isPinned({ hosts: ["a"] }), isPinned({ hosts: ["a"], strategy: "ordered" }), isPinned({})]).toEqual([true, false, false]);
  });
  test.each(["spread", "ordered", "cheapest"] as const)("%s leaves it with whoever holds it: a deploy does not undo a move", (strategy) => {
    const labels = (cost_per_hour: string): Partial<Candidate> => ({ labels: { cost_per_hour } });
    const hosts = [host("a", labels("1")), host("b", { ...labels("9"), load: 5, holds: true }), host("c", labels("2"))];
    expect(chosen(hosts, { strategy, named: strategy === "ordered" ? ids("a", "b", "c") : undefined })).toEqual(["b"]);
  });
});

describe("filters", () => {
  test("what the masters' own view of the way says", () => {
    const reasons = ["a: masters cannot reach it: their probes of its agent's port fail", "b: the circuit to it is open: calls to its agent failed and are not tried for now"];
    const lost = [host("a", { reachability: "unreachable", everReached: true }), host("b", { circuit: "open" })];
    expect(chosen(lost, {})).toEqual(reasons);
    expect(chosen(lost, { strategy: "ordered", named: ids("a", "b") })).toEqual(reasons);
    // Whom an operator names gets it: work arrives with the heartbeats, whatever the way back is like.
    expect(chosen(lost, { named: ids("a", "b") })).toEqual(["a", "b"]);
    expect(lost.map(networkTrouble).every((because) => because !== undefined)).toBe(true);
    for (const patch of [{ reachability: "unknown" }, { reachability: "reachable" }, { circuit: "closed" }, { circuit: "half_open" }] as const) expect(chosen([host("a", patch)], {})).toEqual(["a"]);
    // Its work waits for it: a network that is away for a moment must not tear anything down.
    expect(chosen([host("a", { reachability: "unreachable", circuit: "open", holds: true, schedulable: false })], {})).toEqual(["a"]);
  });
  test("hosts that were never reached take work, last: a fleet behind NAT is a fleet", () => {
    const behind = (name: string, patch: Partial<Candidate> = {}): Candidate => host(name, { reachability: "unreachable", circuit: "open", everReached: false, ...patch });
    expect(chosen([behind("a"), behind("b"), host("c", { load: 9 })], { replicas: 3 })).toEqual(["c", "a", "b"]);
    expect(chosen([behind("a", { everReached: true }), behind("b")], {})).toEqual(["b"]);
    // An operator's own order is obeyed before ours.
    expect(chosen([behind("a"), host("b")], { strategy: "ordered", named: ids("a", "b") })).toEqual(["a"]);
  });
  test("constraints are hard, for whoever holds it too: a value, or any of a list", () => {
    const constraints = { region: ["eu", "ch"], disk: "ssd" };
    expect(constraintRejection({ region: "ch", disk: "ssd" }, constraints)).toBeUndefined();
    expect(constraintRejection({ region: "us", disk: "ssd" }, constraints)).toBe("label region is us, eu or ch is required");
    expect(constraintRejection({ region: "us" }, constraints)).toBe("label disk is not set, ssd is required");
    expect(constraintRejection({}, { constructor: "x" })).toBe("label constructor is not set, x is required");
    expect(chosen([host("a", { labels: { region: "us" }, holds: true }), host("b", { labels: { region: "eu" } })], { constraints: { region: "eu" } })).toEqual(["b"]);
    expect(chosen([host("a", { labels: { region: "us" }, holds: true })], { constraints: { region: "eu" } })).toEqual(["a: label region is us, eu is required"]);
  });
});

describe("over any fleet", () => {
  const anyCandidate = fc.record({
    id: fc.uuid(), name: fc.constantFrom("a", "b", "c", "d", "e", "f"), status: fc.constantFrom(...HOST_STATUSES), schedulable: fc.boolean(),
    labels: fc.dictionary(fc.constantFrom("zone", "cost_per_hour"), fc.constantFrom("1", "2", "0.5", "x")), load: fc.nat(3), holds: fc.boolean(), capabilities: fc.constantFrom<string[]>([], ["driver:noop"], ["driver:docker"]),
    reachability: fc.constantFrom(undefined, "unknown", "reachable", "unreachable"), circuit: fc.constantFrom(undefined, "closed", "open", "half_open"), everReached: fc.constantFrom(undefined, true, false),
  }).map((one) => one as unknown as Candidate);
  const anyFleet = fc.uniqueArray(anyCandidate, { maxLength: 8, selector: (one) => one.id });

  test("the same facts in any order give the same answer, every host is chosen, left or rejected with a reason, and nobody is chosen who was rejected", () => {
    fc.assert(fc.property(
      anyFleet.chain((fleet) => fc.tuple(fc.constant(fleet), fc.shuffledSubarray(fleet, { minLength: fleet.length }), fc.shuffledSubarray(fleet.map((one) => one.id)))),
      fc.constantFrom("spread", "ordered", "cheapest", "pin"), fc.integer({ min: 1, max: 3 }), fc.constantFrom(undefined, { zone: ["1", "2"] }, { zone: "x" }),
      ([fleet, shuffled, named], strategy, replicas, constraints) => {
        const request: PlaceRequest = { strategy: strategy === "pin" ? undefined : strategy, named: strategy === "pin" || strategy === "ordered" ? named : undefined, replicas, constraints, spec };
        const outcome = place(fleet, request);
        expect(place(shuffled, request)).toEqual(outcome);
        const pool = request.named === undefined ? fleet.length : named.length;
        const wanted = strategy === "pin" ? named.length : replicas;
        if (outcome.kind === "placed") {
          expect(outcome.hosts).toHaveLength(wanted);
          for (const one of outcome.hosts) {
            expect(place([one], { ...request, named: request.named === undefined ? undefined : [one.id], replicas: 1 }).kind).toBe("placed");
            if (!one.holds) expect(one).toMatchObject({ status: "active", schedulable: true });
          }
        } else expect(pool - outcome.rejected.length).toBeLessThan(wanted);
        for (const { because } of outcome.rejected) expect(because).not.toBe("");
      },
    ), { numRuns: 500 });
  });
});
