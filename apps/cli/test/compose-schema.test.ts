/** The vendored schema is the published one, and every key in it has been decided about. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COMPOSE_CODES } from "../src/compose/fault.ts";
import { KEYS, NO_EFFECT } from "../src/compose/keys.ts";

const FILE = readFileSync(join(import.meta.dirname, "../src/compose/schema/compose-spec.json"));
interface Part {
  readonly properties?: Record<string, Part>;
  readonly patternProperties?: Record<string, Part>;
  readonly oneOf?: readonly Part[];
  readonly items?: Part;
}
const schema = JSON.parse(FILE.toString()) as Part & { definitions: Record<string, Part> };
const { service, deployment, healthcheck, network, volume, env_file } = schema.definitions as { [K in "service" | "deployment" | "healthcheck" | "network" | "volume" | "env_file"]: Part };
const objectOf = (part: Part | undefined): Part => part?.oneOf?.find((one) => one.properties !== undefined) ?? part!;
const inList = (part: Part | undefined): Part => objectOf(part!.items);
const resources = deployment.properties!["resources"]!.properties!;
const mount = inList(service.properties!["volumes"]);
const joined = service.properties!["networks"]!.oneOf!.find((one) => one.patternProperties !== undefined)!;
const depends = service.properties!["depends_on"]!.oneOf!.find((one) => one.patternProperties !== undefined)!;

const PARTS: Readonly<Record<keyof typeof KEYS, Part>> = {
  file: schema, service, deploy: deployment, healthcheck, network, volume, resources: deployment.properties!["resources"]!, limits: resources["limits"]!, reservations: resources["reservations"]!,
  update_config: deployment.properties!["update_config"]!, restart_policy: deployment.properties!["restart_policy"]!, env_file: inList(env_file.oneOf!.find((one) => one.items !== undefined)),
  port: inList(service.properties!["ports"]), mount, mount_bind: mount.properties!["bind"]!, mount_volume: mount.properties!["volume"]!, mount_tmpfs: mount.properties!["tmpfs"]!,
  service_network: objectOf(Object.values(joined.patternProperties!)[0]), depends_on: Object.values(depends.patternProperties!)[0]!,
};

test("the schema is the published text, unchanged", () => {
  const digest = createHash("sha256").update(FILE).digest("hex");
  expect(readFileSync(join(import.meta.dirname, "../src/compose/schema/README.md"), "utf8")).toContain(digest);
});

test.each(Object.entries(PARTS))("%s: every key of the schema is converted, without effect or refused, and none is invented", (name, part) => {
  expect(Object.keys(KEYS[name as keyof typeof KEYS]).toSorted()).toEqual(Object.keys(part.properties!).toSorted());
});

test("what has no effect is a short list", () => {
  const silent = Object.entries(KEYS).flatMap(([context, table]) => Object.entries(table).filter(([, verdict]) => verdict === NO_EFFECT).map(([key]) => `${context}.${key}`));
  expect(silent).toEqual(["file.version", "service.attach", "service.develop", "port.mode", "port.app_protocol", "mount.consistency"]);
});

test("docs/compose.md speaks of every key of a service, and of every code", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/compose.md"), "utf8");
  expect([...Object.keys(KEYS.service), ...Object.keys(KEYS.file)].filter((key) => !new RegExp(`\`${key}[\`:]`).test(page) && key !== "services" && key !== "name")).toEqual([]);
  expect(COMPOSE_CODES.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
});
