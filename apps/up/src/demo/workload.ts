/** What the tour deploys: a web server that answers with what it was told to say and by which process, once it may. */
import type { DeployRequest } from "@skep/protocol";

const PROGRAM = [
  'const { createServer } = require("node:http");',
  "const answer = (request, response) => response.end(`${process.env.GREETING} ${process.pid}`);",
  "const listen = () => createServer(answer).listen(Number(process.env.PORT), '127.0.0.1');",
  'const { existsSync } = require("node:fs");',
  "const wait = () => (existsSync(process.env.HELD_BY) ? setTimeout(wait, 50) : listen());",
  "wait();",
  "process.on('SIGTERM', () => process.exit(0));",
].join("\n");

export interface Wish {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly greeting: string;
  /** A file: while it is there it does not become healthy, so that things can be killed in the middle. "" = it waits for nobody. */
  readonly heldBy: string;
}

export function workload({ name, hosts, greeting, heldBy }: Wish): DeployRequest {
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
          env: { GREETING: greeting, HELD_BY: heldBy },
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
