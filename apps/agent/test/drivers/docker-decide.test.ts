/** The docker driver's decisions, without an engine. */
import { seededRng, below } from "@skep/core";
import { seedFromEnv } from "@skep/testkit";
import { expect, test } from "vitest";
import { readLabels } from "../../src/drivers/docker/container-labels.ts";
import { createBody } from "../../src/drivers/docker/create-body.ts";
import { decideDrift } from "../../src/drivers/docker/decide-drift.ts";
import { socketPathOf } from "../../src/drivers/docker/endpoint.ts";
import { codeOf } from "../../src/drivers/docker/engine-error.ts";
import { decideVersion } from "../../src/drivers/docker/engine.ts";
import { createDemux, jsonLines } from "../../src/drivers/docker/frames.ts";
import { createMotion, splitReference } from "../../src/drivers/docker/image.ts";
import { advance, createSeam, pieceOf, sinceOf, type LogPosition } from "../../src/drivers/docker/log-seam.ts";
import { clashes, insideAddress, publishedPorts } from "../../src/drivers/docker/published-ports.ts";
import { containerSpec, labelsFor } from "./docker-world.ts";

const frame = (kind: number, text: string): Buffer => {
  const header = Buffer.alloc(8);
  header[0] = kind;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
};

test("frames are put together however the bytes were cut", () => {
  const rng = seededRng(seedFromEnv());
  const wanted = Array.from({ length: 40 }, (_, index) => ({ stream: index % 3 === 0 ? "stderr" : "stdout", text: "ä".repeat(below(rng, 300)) }));
  const bytes = Buffer.concat(wanted.map(({ stream, text }) => frame(stream === "stderr" ? 2 : 1, text)));
  const demux = createDemux();
  const got: { stream: string; text: string }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + below(rng, 64);
    for (const { stream, data } of demux(bytes.subarray(at, at + size))) got.push({ stream, text: Buffer.from(data).toString("utf8") });
    at += size;
  }
  expect(got).toEqual(wanted);
});

test("bytes that are no frames are refused, not swallowed as one endless frame", () => {
  expect(() => createDemux()(Buffer.from("plain text of a terminal"))).toThrow("not in frames");
});

test("JSON lines, cut in the middle of a character, and half a line at the end", async () => {
  const bytes = Buffer.from('{"a":"ä"}\n\n{"b":2}\n{"c":');
  const chunks = async function* () {
    for (const byte of bytes) yield Buffer.from([byte]);
  };
  const got: unknown[] = [];
  for await (const line of jsonLines(chunks())) got.push(line);
  expect(got).toEqual([{ a: "ä" }, { b: 2 }]);
});

test.each([
  ["nginx", "nginx", "latest"], ["nginx:1.27", "nginx", "1.27"], ["host:5000/team/app", "host:5000/team/app", "latest"], ["host:5000/team/app:2", "host:5000/team/app", "2"],
  [`app@sha256:${"a".repeat(64)}`, "app", `sha256:${"a".repeat(64)}`], [`app:1@sha256:${"a".repeat(64)}`, "app", `sha256:${"a".repeat(64)}`],
])("the reference %s is %s at %s", (image, fromImage, tag) => {
  expect(splitReference(image)).toEqual({ fromImage, tag });
});

test("only bytes and layers that moved on are progress", () => {
  const moved = createMotion();
  const line = (status: string, current?: number) => moved({ id: "layer", status, ...(current === undefined ? {} : { progressDetail: { current } }) });
  expect([line("Pulling fs layer"), line("Pulling fs layer"), line("Downloading", 10), line("Downloading", 10), line("Downloading", 9), line("Downloading", 11), line("Extracting", 1)]).toEqual([true, false, true, false, false, true, true]);
});

test.each([["1.41", "1.12", "1.41"], ["1.47", "1.24", "1.47"], ["1.55", "1.44", "1.47"], ["1.40", "1.24", "1.40"]])("an engine of %s (at least %s) is spoken to in %s", (ApiVersion, MinAPIVersion, spoken) => {
  expect(decideVersion({ ApiVersion, MinAPIVersion })).toBe(spoken);
});

test("engines that are too old or too new are refused, and one that says nothing is taken at the oldest", () => {
  expect(() => decideVersion({ ApiVersion: "1.39" })).toThrow(/1\.40 is needed/);
  expect(() => decideVersion({ ApiVersion: "2.3", MinAPIVersion: "2.0" })).toThrow(/upgrade the agent/);
  expect(decideVersion({})).toBe("1.40");
});

test("ports are read by number and protocol, IPv4 first, and nonsense is no port", () => {
  const specs = [
    { name: "http", container: 80, protocol: "tcp" }, { name: "dns", container: 53, protocol: "udp" }, { name: "dns-tcp", container: 53, protocol: "tcp" },
    { name: "hidden", container: 81, protocol: "tcp" }, { name: "wild", container: 82, protocol: "tcp" }, { name: "v6", container: 83, protocol: "tcp" },
  ] as const;
  const Ports = {
    "80/tcp": [{ HostIp: "::", HostPort: "40001" }, { HostIp: "0.0.0.0", HostPort: "40000" }], "53/udp": [{ HostIp: "", HostPort: "5353" }], "53/tcp": null,
    "82/tcp": [{ HostIp: "", HostPort: "99999" }], "83/tcp": [{ HostIp: "::1", HostPort: "40003" }],
  };
  expect(publishedPorts(specs, { NetworkSettings: { Ports } })).toEqual({ http: 40_000, dns: 5_353, v6: 40_003 });
  expect(publishedPorts(specs.slice(0, 1), { HostConfig: { NetworkMode: "host" } })).toEqual({ http: 80 });
});

test("a probe dials the container itself, on IPv6 where that is all it has, and the host only in the host's network", () => {
  expect(insideAddress({ NetworkSettings: { Networks: { a: null, b: { IPAddress: "" }, c: { IPAddress: "10.1.1.2" } } } })).toBe("10.1.1.2");
  expect(insideAddress({ NetworkSettings: { Networks: { a: { IPAddress: "", GlobalIPv6Address: "fd00::2" } } } })).toBe("fd00::2");
  expect(insideAddress({ NetworkSettings: { Networks: {} } })).toBeUndefined();
  expect(insideAddress({ HostConfig: { NetworkMode: "host" }, NetworkSettings: { Networks: { host: { IPAddress: "" } } } })).toBe("127.0.0.1");
});

test.each([
  [undefined, "0.0.0.0", true], ["127.0.0.1", undefined, true], ["127.0.0.1", "127.0.0.1", true], ["127.0.0.1", "10.0.0.1", false], ["::", "127.0.0.1", true],
])("addresses %s and %s clash on one port: %s", (a, b, clash) => {
  expect(clashes({ ip: a, port: 80, protocol: "tcp" }, { ip: b, port: 80, protocol: "tcp" })).toBe(clash);
  expect(clashes({ ip: a, port: 80, protocol: "tcp" }, { ip: b, port: 80, protocol: "udp" })).toBe(false);
});

test.each([
  ["write /var/lib/docker/tmp/x: no space left on device", "disk_full"], ["manifest unknown: manifest unknown", "image_not_found"],
  ["pull access denied for x, repository does not exist or may require 'docker login'", "image_not_found"], ["unauthorized: authentication required", "registry_refused"],
  ["Bind for 0.0.0.0:80 failed: port is already allocated", "port_in_use"], ["something new", "other"],
])("the engine's words %j mean %s", (words, code) => {
  expect(codeOf(words, "other")).toBe(code);
});

test("only local unix sockets are spoken to", () => {
  expect(socketPathOf("unix:///run/user/1000/podman/podman.sock")).toBe("/run/user/1000/podman/podman.sock");
  for (const host of ["tcp://10.0.0.1:2376", "ssh://a@b", "npipe:////./pipe/docker_engine", "/var/run/docker.sock", "unix://relative"]) expect(() => socketPathOf(host)).toThrow(/DOCKER_HOST/);
});

test("a spec the engine could not serve is refused with what to do", () => {
  const names = { network: (name: string) => ({ id: name, name }), volume: String };
  const refused = (spec: ReturnType<typeof containerSpec>) => expect(() => createBody("me", labelsFor(), spec, names));
  refused({ ...containerSpec(), container: undefined }).toThrow(/needs container.image/);
  refused(containerSpec([], { ports: [{ name: "http", protocol: "tcp" }] })).toThrow(/no container port/);
  const probe = { type: "tcp", port: "dns", interval_ms: 100, timeout_ms: 100, success_threshold: 1, failure_threshold: 1 } as const;
  refused(containerSpec([], { probe })).toThrow(/does not have/);
  refused(containerSpec([], { probe, ports: [{ name: "dns", container: 53, protocol: "udp" }] })).toThrow(/UDP: use an exec probe/);
  refused(containerSpec([], { probe: { ...probe, port: 53 }, container: { network_mode: "none" } })).toThrow(/no network/);
});

test("Podman's way of telling the same is no drift; another image, network or maker is", () => {
  const record = { version: 1, id: "a", labels: labelsFor(), hostBootId: "b", restarts: 0, crashes: 0 } as const;
  const spec = { image: "team/app", restart: { policy: "never" }, ports: [], networks: ["front"], stop_timeout_s: 5 } as const;
  const view = (image: string, network: string, Running = true) => ({ id: "a", labels: record.labels, damage: undefined, spec, seen: { Id: "a", State: { Running }, Config: { Image: image }, HostConfig: { PidsLimit: null }, NetworkSettings: { Networks: { [network]: { NetworkID: network } } } } });
  const network = () => ({ id: "f00d", name: "skep-front" });
  for (const image of ["team/app", "team/app:latest", "docker.io/team/app:latest", "localhost/team/app", "f".repeat(64)]) expect(decideDrift(view(image, "skep-front"), record, network)).toEqual([]);
  expect(decideDrift(view("team/app", "f00d"), record, network)).toEqual([]);
  expect(decideDrift(view("team/app", "none-yet", false), record, network)).toEqual([]);
  expect(decideDrift(view("team/app:2", "other"), undefined, network)).toEqual([expect.stringMatching(/made by somebody else/), "image is team/app:2 instead of team/app", "network front is detached"]);
});

test("labels that are damaged are said to be, and what is not ours is nobody's", () => {
  const { placementId, jobId } = labelsFor();
  const good = { "skep.placement": placementId, "skep.component": "web", "skep.job": jobId, "skep.generation": "3", "skep.epoch": "1", "skep.hash": "h", "skep.spec": '{"image":"a","ports":[],"networks":[],"restart":{"policy":"never"},"stop_timeout_s":5}' };
  expect(readLabels(good)).toMatchObject({ damage: undefined, labels: { generation: 3 } });
  for (const [name, value] of [["skep.generation", "many"], ["skep.hash", ""], ["skep.spec", "{"], ["skep.spec", "{}"]] as const) expect(readLabels({ ...good, [name]: value })?.damage).toMatch(/damaged/);
  for (const [name, value] of [["skep.placement", "../etc"], ["skep.component", "a/b"]] as const) expect(readLabels({ ...good, [name]: value })).toBeUndefined();
});

/** A container's whole output, read in parts with crashes in between: every piece exactly once. */
test("output is joined without a hole and without a duplicate, wherever the reader was cut off", () => {
  const rng = seededRng(seedFromEnv());
  for (let round = 0; round < 200; round++) {
    const startMs = 1_764_178_207_000 + below(rng, 1_000);
    // Stamps repeat, leap ahead and step back a little, as two streams of one container do.
    let atMs = startMs;
    const pieces = Array.from({ length: 40 }, (_, index) => ({ atMs: (atMs += below(rng, 4) === 0 ? below(rng, 2_500) : 0) - below(rng, 300), data: Buffer.from(`${index};`) }));
    let copied = Buffer.alloc(0);
    let written: LogPosition | undefined;
    for (let run = 0; run < 6; run++) {
      const since = sinceOf(written);
      const reread = pieces.filter((piece) => since === undefined || piece.atMs >= Number(since) * 1_000);
      const seam = createSeam(written, copied.subarray(written?.offset ?? 0));
      let now = written;
      for (const piece of reread.slice(0, run === 5 ? reread.length : below(rng, reread.length + 1))) {
        const verdict = seam(piece);
        if (verdict === "new") copied = Buffer.concat([copied, piece.data]);
        if (verdict !== "skipped") now = advance(now, piece, verdict === "copied" ? (now?.offset ?? 0) + piece.data.length : copied.length);
        // A crash may come between the bytes and their position.
        if (below(rng, 3) > 0) written = now;
      }
    }
    expect(copied.toString()).toBe(pieces.map(({ data }) => data.toString()).join(""));
  }
});

test("lines that the engine has thrown away are not counted against new ones", () => {
  const position = advance(advance(undefined, { atMs: 5_000, data: Buffer.from("a") }, 1), { atMs: 5_010, data: Buffer.from("b") }, 2);
  const seam = createSeam(position, new Uint8Array());
  expect([seam({ atMs: 5_010, data: Buffer.from("b") }), seam({ atMs: 5_020, data: Buffer.from("c") })]).toEqual(["skipped", "new"]);
});

test("a frame is its stamp and its data; what has no stamp is all data", () => {
  const { atMs, data } = pieceOf({ stream: "stdout", data: Buffer.from("2026-11-26T17:30:07.859325159Z a b\n") });
  expect([atMs, Buffer.from(data).toString()]).toEqual([Date.parse("2026-11-26T17:30:07.859Z"), "a b\n"]);
  expect(pieceOf({ stream: "stdout", data: Buffer.from("no stamp") }).atMs).toBeUndefined();
});
