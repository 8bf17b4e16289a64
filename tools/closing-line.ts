/** A reporter that ends a run with one plain line that any reader of logs understands: "N passed, N failed, N skipped". */
import type { Reporter, TestModule } from "vitest/node";

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      // A file that could not even be loaded has no tests to fail, and must not look like one that has none.
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) counts.failed += 1;
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
    }
    const line = `${counts.passed} passed, ${counts.failed + errors.length} failed, ${counts.skipped + counts.pending} skipped\n`;
    // At exit, so that it stands below the other reporters' summaries.
    process.once("exit", () => process.stdout.write(line));
  }
}
