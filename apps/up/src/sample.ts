/** The sample deployment of the first start: what a newcomer sees running before having written anything. */
import { readFileSync } from "node:fs";
import { acceptedOperation, deployRequest, lifecycleList, placementList } from "@skep/protocol";
import type { DeployRequest, LifecycleJson } from "@skep/protocol";
import { isTerminal } from "@skep/core";
import type { Clock } from "@skep/core";
import { ApiRefusal } from "./api.ts";
import type { Api } from "./api.ts";

const POLL_MS = 100;

export interface SampleResult {
  readonly name: string;
  /** One line per host: where it runs, or why not. */
  readonly lines: readonly string[];
  readonly running: boolean;
}

/** Parsed by the API's own schema. `node` becomes the very Node we run on: PATH may have none, or an older one. */
export function readSample(path: string, replicas: number, node: string): DeployRequest {
  const request = deployRequest.parse(JSON.parse(readFileSync(path, "utf8")));
  const components = request.spec.components.map((component) => ({ ...component, command: component.command[0] === "node" ? [node, ...component.command.slice(1)] : component.command }));
  return { ...request, placement: { replicas }, spec: { ...request.spec, components } };
}

/**
 * Deploys and waits for the end of its rows. One of that name that is there already is taken as it is. A refusal is a
 * result: a fleet whose sample does not run is worth having up all the same.
 */
export async function deploySample(api: Api, request: DeployRequest, clock: Clock, timeoutMs: number): Promise<SampleResult> {
  const { name } = request;
  try {
    const accepted = acceptedOperation.parse(await api.post("/v1/deployments", request));
    const rows = await awaitRows(api, accepted.placements.flatMap(({ lifecycle_id: id }) => (id === null ? [] : [id])), clock, timeoutMs);
    const bad = rows.filter((row) => row.status !== "succeeded");
    if (bad.length > 0) return { name, running: false, lines: bad.map((row) => `${row.host}: ${row.status}${row.error === null ? "" : `: ${row.error}`} (npx skep explain lifecycle ${row.id})`) };
  } catch (error) {
    if (!(error instanceof ApiRefusal)) throw error;
    if (error.code !== "deployment_exists") return { name, running: false, lines: [error.message] };
  }
  return { name, running: true, lines: await sampleAddresses(api, name) };
}

/** The rows once all are terminal, or as they are when time runs out: an unfinished row is a finding, not an error. */
export async function awaitRows(api: Api, ids: readonly string[], clock: Clock, timeoutMs: number): Promise<LifecycleJson[]> {
  const deadlineMs = clock.mono() + timeoutMs;
  for (;;) {
    const { items } = lifecycleList.parse(await api.get(`/v1/lifecycle?ids=${ids.join(",")}`));
    if (items.length === ids.length && items.every((row) => isTerminal(row.status))) return items;
    if (clock.mono() > deadlineMs) return items;
    await clock.sleep(POLL_MS);
  }
}

async function sampleAddresses(api: Api, name: string): Promise<string[]> {
  const { items } = placementList.parse(await api.get(`/v1/placements?deployment=${name}`));
  return items.map((placement) => {
    const ports = (placement.observed?.components ?? []).flatMap(({ ports: named }) => Object.values(named ?? {}));
    return `${placement.host}: ${placement.state}${ports.map((port) => `  http://127.0.0.1:${port}`).join("")}`;
  });
}
