/** What the tour deploys: a web server that answers with what it was told to say and by which process. */
import type { DeployRequest } from "@skep/protocol";

const PROGRAM = [
  'const { createServer } = require("node:http");',
  "const answer = (request, response) => response.end(`${process.env.GREETING} ${process.pid}`);",
  "const listen = () => createServer(answer).listen(Number(process.env.PORT), '127.0.0.1');",
  "setTimeout(listen, Number(process.env.DELAY_MS));",
  "process.on('SIGTERM', () => process.exit(0));",
].join("\n");

export interface Wish {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly greeting: string;
  /** How long it takes to become healthy: time in which things can be killed. */
  readonly delayMs: number;
}

export function workload({ name, hosts, greeting, delayMs }: Wish): DeployRequest {
  return {
    name,
    placement: { hosts: [...hosts] },
    reconcile: "auto",
    replace: false,
    dry_run: false,
    spec: {
      driver: "process",
      components: [
        {
          name: "web",
          command: [process.execPath, "-e", PROGRAM],
          env: { GREETING: greeting, DELAY_MS: String(delayMs) },
          ports: [{ name: "http", protocol: "tcp" }],
          restart: { policy: "always" },
          depends_on: [],
          probe: { type: "http", port: "http", path: "/", timeout_ms: 1_000, interval_ms: 200, success_threshold: 1, failure_threshold: 100 },
          stop_timeout_s: 5,
        },
      ],
    },
  };
}
