/** What only a host's owner can give away (faults F38): one verdict for every path, refused by default, allowed by name. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  NO_ALLOWANCES, allowanceCapabilities, allowanceRejection, allowancesOf, decideAllowances, patchSpec, place, type Allowances, type Candidate, type ContainerSpec, type HostId, type Spec,
} from "../src/index.ts";

const component = { name: "web", command: [], env: {}, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 10 } as const;
const specOf = (container: Partial<ContainerSpec>, networks: Spec["networks"] = {}): Spec => ({ driver: "docker", networks, components: [{ ...component, container: { image: "web:1", ...container } }] });
const bind = (source: string): Partial<ContainerSpec> => ({ mounts: [{ type: "bind", source, target: "/data" }] });
const allowing = (patch: Partial<Allowances>): Allowances => ({ ...NO_ALLOWANCES, ...patch });

/** What is dangerous, and the least allowance that lets it through. */
const DANGEROUS: readonly (readonly [string, Spec, Allowances])[] = [
  ["a host mount", specOf(bind("/srv/data")), allowing({ hostMounts: ["/srv/data"] })],
  ["a mount below an allowed root", specOf(bind("/srv/data/web/1")), allowing({ hostMounts: ["/srv"] })],
  ["the engine's socket", specOf(bind("/var/run/docker.sock")), allowing({ hostMounts: ["/var/run/docker.sock"] })],
  ["the root of the host", specOf(bind("/")), allowing({ hostMounts: ["/"] })],
  ["privileged mode", specOf({ privileged: true }), allowing({ privileged: true })],
  ["the host's network", specOf({ network_mode: "host" }), allowing({ hostNamespaces: true })],
  ["the host's network by way of an external one", specOf({ networks: [{ name: "n" }] }, { n: { external: "host" } }), allowing({ hostNamespaces: true })],
  ["the host's processes", specOf({ pid_mode: "host" }), allowing({ hostNamespaces: true })],
  ["the host's shared memory", specOf({ ipc_mode: "host" }), allowing({ hostNamespaces: true })],
  ["a capability", specOf({ cap_add: ["NET_ADMIN"] }), allowing({ capabilities: ["NET_ADMIN"] })],
  ["a capability with its prefix", specOf({ cap_add: ["CAP_SYS_ADMIN"] }), allowing({ capabilities: ["SYS_ADMIN"] })],
  ["all capabilities", specOf({ cap_add: ["ALL"] }), allowing({ capabilities: ["ALL"] })],
];

const HARMLESS: readonly (readonly [string, Spec])[] = [
  ["nothing special", specOf({})],
  ["a named volume and a tmpfs", specOf({ mounts: [{ type: "volume", volume: "v", target: "/v" }, { type: "tmpfs", target: "/tmp" }] })],
  ["dropping capabilities", specOf({ cap_drop: ["ALL"] })],
  ["no network at all", specOf({ network_mode: "none" })],
  ["privileged: false", specOf({ privileged: false })],
  ["a process", { driver: "process", components: [component] }],
];

describe("a host that allows nothing", () => {
  test.each(DANGEROUS)("refuses %s, and says which component and which setting", (_name, spec) => {
    const [problem] = decideAllowances(spec, NO_ALLOWANCES);
    expect(problem?.message).toMatch(/^web: .+ is not allowed on this host \(its owner allows it with allow\.\w+\)$/);
  });
  test.each(HARMLESS)("takes %s", (_name, spec) => {
    expect(decideAllowances(spec, NO_ALLOWANCES)).toEqual([]);
  });
});

test.each(DANGEROUS)("%s passes with its own allowance, reported and read back", (_name, spec, allowed) => {
  expect(decideAllowances(spec, allowed)).toEqual([]);
  expect(allowancesOf(allowanceCapabilities(allowed))).toEqual(allowed);
});

test.each(["/srv/../etc/shadow", "/srv/data/../../etc", "/srv/./data", "/srvdata", "/sr", "srv/data", "/etc"])("%s is not below /srv", (source) => {
  expect(decideAllowances(specOf(bind(source)), allowing({ hostMounts: ["/srv"] }))).toHaveLength(1);
});

test("all problems at once", () => {
  expect(decideAllowances(specOf({ ...bind("/etc"), privileged: true, pid_mode: "host", cap_add: ["SYS_ADMIN", "NET_RAW"] }), NO_ALLOWANCES)).toHaveLength(5);
});

test("the verdict on a change is the verdict on its result (faults S6)", () => {
  const container = fc.record({
    privileged: fc.boolean(), pid_mode: fc.constant("host" as const), cap_add: fc.array(fc.constantFrom("NET_ADMIN", "SYS_ADMIN")), mounts: fc.constant([{ type: "bind" as const, source: "/etc", target: "/x" }]),
  }, { requiredKeys: [] });
  fc.assert(fc.property(container, container, (before, change) => {
    const patched = patchSpec(specOf(before), { components: { web: { container: change } } });
    if (patched.kind !== "patched") throw new Error("web is there");
    expect(decideAllowances(patched.spec, NO_ALLOWANCES)).toEqual(decideAllowances(specOf({ ...before, ...change }), NO_ALLOWANCES));
  }));
});

describe("placement", () => {
  const host = (name: string, capabilities: readonly string[], holds = false): Candidate => ({ id: name as HostId, name, status: "active", schedulable: true, labels: {}, load: 0, holds, capabilities });
  const spec = specOf({ privileged: true });

  test("containers go only where an engine answers and the owner allows them, named hosts no exception", () => {
    const hosts = [host("bare", ["driver:process"]), host("old-agent", []), host("strict", ["driver:docker"]), host("open", ["driver:docker", "allow:privileged"])];
    const outcome = place(hosts, { replicas: 1, spec });
    expect(outcome).toMatchObject({ kind: "placed", hosts: [{ name: "open" }], rejected: [{ host: "bare", because: "no Docker engine answers there" }, { host: "old-agent" }, { host: "strict", because: allowanceRejection(spec, []) }] });
    expect(place(hosts, { named: ["strict" as HostId], spec })).toMatchObject({ kind: "no_eligible_host", rejected: [{ host: "strict" }] });
  });
  test("a host that holds the placement keeps it while its engine is away, and is refused what it no longer allows", () => {
    expect(place([host("a", ["driver:process", "allow:privileged"], true)], { replicas: 1, spec }).kind).toBe("placed");
    expect(place([host("a", ["driver:docker"], true)], { replicas: 1, spec }).kind).toBe("no_eligible_host");
  });
  test("the seed's agent, which reports no capabilities, still takes processes", () => {
    expect(place([host("seed", [])], { replicas: 1, spec: { driver: "process", components: [] } }).kind).toBe("placed");
  });
});
