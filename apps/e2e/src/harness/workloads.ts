/** Workloads that tell who they are: a test that asks over their port learns which process answers and with what settings. */
const SERVER = [
  'const { createServer } = require("node:http");',
  "createServer((request, response) => response.end(`${process.env.GREETING} ${process.pid}`)).listen(Number(process.env.PORT), '127.0.0.1');",
  "console.log(`${process.env.GREETING} is up`);",
  "process.on('SIGTERM', () => process.exit(0));",
].join("\n");

/** Node itself takes seconds to start on a busy machine; once it has served, the threshold alone counts. */
const STARTS_WITHIN_MS = 60_000;

export const webServer = (greeting: string) => ({
  driver: "process",
  components: [{
    name: "web", command: [process.execPath, "-e", SERVER], env: { GREETING: greeting }, ports: [{ name: "http" }], stop_timeout_s: 3,
    probe: { type: "http", port: "http", path: "/", interval_ms: 100, failure_threshold: 100, start_period_ms: STARTS_WITHIN_MS },
  }],
});

export const noop = (...startMs: readonly number[]) => ({
  driver: "noop",
  components: startMs.map((ms, index) => ({ name: `c${index}`, noop: { start_ms: ms }, ...(index === 0 ? {} : { depends_on: [`c${index - 1}`] }) })),
});

/** Who it is to people, and to a Prometheus. Its probe gives up on it soon: a process that is stopped fails it. */
const MEASURED_SERVER = [
  'const { createServer } = require("node:http");',
  "createServer((request, response) => response.end(request.url === '/metrics' ? `# TYPE greeter_up gauge\\ngreeter_up{greeting=\"${process.env.GREETING}\"} 1\\n` : `${process.env.GREETING} ${process.pid}`)).listen(Number(process.env.PORT), '127.0.0.1');",
  "process.on('SIGTERM', () => process.exit(0));",
].join("\n");

export const measuredServer = (greeting: string) => ({
  driver: "process",
  components: [{
    name: "web", command: [process.execPath, "-e", MEASURED_SERVER], env: { GREETING: greeting }, ports: [{ name: "http" }], stop_timeout_s: 3,
    probe: { type: "http", port: "http", path: "/", interval_ms: 100, timeout_ms: 500, failure_threshold: 3, start_period_ms: STARTS_WITHIN_MS },
  }],
});
