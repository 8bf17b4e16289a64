/**
 * What deploy/ ships for Prometheus and Grafana names only metrics that exist, asks them the way their types allow, and
 * passes Prometheus' own checks. That the queries return data from a real fleet is apps/e2e/test/prometheus.test.ts.
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findPrometheus, promtool, tempDir } from "@skep/testkit";
import { describe, expect, test } from "vitest";
import { AGENT_METRICS } from "../apps/agent/src/metrics/names.ts";
import { MASTER_METRICS } from "../apps/master/src/metrics/names.ts";
import { ROOT } from "./sources.ts";

const PROMETHEUS = join(ROOT, "deploy/prometheus");
const GRAFANA = join(ROOT, "deploy/grafana");

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly { readonly id: number; readonly title: string; readonly gridPos: { readonly x: number; readonly w: number }; readonly datasource: { readonly uid: string }; readonly targets: readonly { readonly expr: string; readonly datasource: { readonly uid: string } }[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
}
const dashboards = readdirSync(GRAFANA).map((name) => ({ name, dashboard: JSON.parse(readFileSync(join(GRAFANA, name), "utf8")) as Dashboard }));
const rules = readFileSync(join(PROMETHEUS, "rules.yaml"), "utf8");
const ruleExpressions = [...rules.matchAll(/^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)/gm)].map((match) => (match[1] ?? match[2]!).trim());
const expressions = [...ruleExpressions, ...dashboards.flatMap(({ dashboard }) => dashboard.panels.flatMap((panel) => panel.targets.map((target) => target.expr)))];

/** What Prometheus itself and Node tell of. */
const THEIRS = /^(up|scrape_duration_seconds|scrape_samples_scraped|process_[a-z_]+|nodejs_[a-z0-9_]+)$/;
const table = new Map([...Object.values(MASTER_METRICS), ...Object.values(AGENT_METRICS)].map((row) => [row.name as string, row]));
const rowOf = (name: string) => table.get(name) ?? table.get(name.replace(/_(bucket|sum|count)$/, ""));

/** Names of metrics in a query: what is no word of PromQL's, no label and no function. */
export function metricsIn(expr: string): string[] {
  const bare = expr.replaceAll(/"[^"]*"/g, '""').replaceAll(/\{[^}]*\}/g, "").replaceAll(/\[[^\]]*\]/g, "").replaceAll(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, "");
  return [...bare.matchAll(/\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()/g)].map(([name]) => name).filter((name) => name.includes("_") || name === "up");
}

/** What is wrong with a query, in words. */
export function faultsOf(expr: string): string[] {
  const faults = metricsIn(expr).filter((name) => rowOf(name) === undefined && !THEIRS.test(name)).map((name) => `${name} is no metric of ours`);
  for (const [, name] of expr.matchAll(/\b(?:rate|increase|irate)\(\s*([a-zA-Z_:]\w*)/g)) {
    const row = rowOf(name!);
    if (row?.type === "gauge") faults.push(`a rate over the gauge ${name}`);
  }
  for (const [, name] of expr.matchAll(/([a-zA-Z_:]\w*_(?:total|bucket|sum))(?:\{[^}]*\})?(?!\w|\{|\[)/g)) if (rowOf(name!) !== undefined) faults.push(`the counter ${name} without a rate`);
  for (const [, inner] of expr.matchAll(/histogram_quantile\([^,]*,\s*(.{0,40})/g)) if (!/^sum by \((?:\w+, )*le(?:, \w+)*\) \(rate\(/.test(inner!)) faults.push("a quantile that is not over sum by (le) of a rate");
  if (/avg[\s\S]*(histogram_quantile|_p\d\d_)/.test(expr)) faults.push("an average of quantiles");
  return faults;
}

test("the queries are found", () => {
  expect(ruleExpressions).toHaveLength(rules.split("- alert: ").length - 1);
  expect(dashboards.map(({ name }) => name).sort()).toEqual(["deploys.json", "fleet.json", "master.json"]);
  expect(expressions.length).toBeGreaterThan(60);
});

test.each(expressions)("%s", (expr) => {
  expect(faultsOf(expr)).toEqual([]);
});

test.each([
  ["sum(master_hostz)", /no metric/],
  ["rate(master_hosts[5m])", /gauge/],
  ["sum(master_deltas_total)", /without a rate/],
  ['sum(master_deltas_total{result="late"})', /without a rate/],
  ["histogram_quantile(0.99, rate(master_sweep_duration_seconds_bucket[5m]))", /sum by/],
  ["histogram_quantile(0.99, sum by (instance) (rate(master_sweep_duration_seconds_bucket[5m])))", /sum by/],
  ["avg(histogram_quantile(0.99, sum by (le, instance) (rate(master_sweep_duration_seconds_bucket[5m]))))", /average/],
  ["avg(nodejs_eventloop_lag_p99_seconds)", /average/],
])("rejects %s", (expr, fault) => {
  expect(faultsOf(expr).join()).toMatch(fault);
});

test.each(dashboards)("$name: its data source is a variable everywhere, panels fit, ids are its own", ({ dashboard }) => {
  expect(dashboard.uid).toMatch(/^skep-/);
  expect(dashboard.templating.list.map((variable) => [variable.name, variable.type])).toContainEqual(["datasource", "datasource"]);
  expect(new Set(dashboard.panels.map((panel) => panel.id)).size).toBe(dashboard.panels.length);
  for (const { gridPos, datasource, targets, title } of dashboard.panels) {
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
    expect(targets.length, title).toBeGreaterThan(0);
    for (const used of [datasource, ...targets.map((target) => target.datasource)]) expect(used.uid).toBe("${datasource}");
  }
});

test("every alert says what happened, what it means and what to do next", () => {
  for (const alert of rules.split("- alert: ").slice(1)) {
    for (const field of ["summary", "description", "next"]) expect(alert, alert.split("\n")[0]).toMatch(new RegExp(`^ {10}${field}: ".+"$`, "m"));
  }
});

describe.skipIf("missing" in findPrometheus())("promtool", () => {
  test("takes the rules, and they fire when they should and not otherwise", async () => {
    expect(await promtool(["check", "rules", "rules.yaml"], { cwd: PROMETHEUS })).toMatchObject({ code: 0 });
    const tested = await promtool(["test", "rules", "rules.test.yaml"], { cwd: PROMETHEUS });
    expect(tested.output).toContain("SUCCESS");
    expect(tested.code).toBe(0);
  });

  test("every alert is among its unit tests, firing", () => {
    const tests = readFileSync(join(PROMETHEUS, "rules.test.yaml"), "utf8");
    const fired = new Set([...tests.matchAll(/alertname: (\w+)\n {8}exp_alerts:/g)].map((match) => match[1]));
    expect([...rules.matchAll(/- alert: (\w+)/g)].map((match) => match[1]).filter((name) => !fired.has(name))).toEqual([]);
  });

  test("a rule that is mended the wrong way fails its unit tests (control)", async () => {
    const dir = tempDir("rules");
    cpSync(PROMETHEUS, dir, { recursive: true });
    // Summed over two masters, one dead host of two hundred would look like two.
    writeFileSync(join(dir, "rules.yaml"), rules.replace('sum(max by (liveness) (master_hosts{liveness="unreachable"}))', 'sum(master_hosts{liveness="unreachable"}) * 2'));
    expect((await promtool(["test", "rules", "rules.test.yaml"], { cwd: dir })).code).not.toBe(0);
  });

  test("takes the configuration, once there is a token", async () => {
    const dir = tempDir("prometheus");
    cpSync(PROMETHEUS, dir, { recursive: true });
    expect(await promtool(["check", "config", "prometheus.yml"], { cwd: dir })).toMatchObject({ code: 1, output: expect.stringContaining("skep.token") });
    writeFileSync(join(dir, "skep.token"), "skp_x");
    expect(await promtool(["check", "config", "prometheus.yml"], { cwd: dir })).toMatchObject({ code: 0 });
  });
});
