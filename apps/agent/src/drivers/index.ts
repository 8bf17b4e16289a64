/** The agent's drivers: real processes, containers, and none. */
import { fileURLToPath } from "node:url";

export { createProcessDriver } from "./process/create-process-driver.ts";
export type { ProcessDriver, ProcessDriverOptions } from "./process/create-process-driver.ts";
export { createDockerDriver } from "./docker/create-docker-driver.ts";
export type { DockerDriver, DockerDriverOptions } from "./docker/create-docker-driver.ts";
export { createNoopDriver } from "./noop/create-noop-driver.ts";
export type { NoopDriverOptions } from "./noop/create-noop-driver.ts";

/** The built runner, from `src/drivers` and `dist/drivers` alike. It needs `dist/`: Node cannot run the sources. */
export const defaultRunnerPath = (): string => fileURLToPath(new URL("../../bin/skep-runner.js", import.meta.url));
