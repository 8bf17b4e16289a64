import { defineConfig } from "vitest/config";

// `@skep/source` makes workspace imports resolve to TypeScript sources, so a test never runs a stale build.
// `ssr` is where tests run; `__vitest__` is where globalSetup runs, which would otherwise import dist/ unnoticed.
const resolve = { conditions: ["@skep/source"] };
const shared = {
  resolve,
  ssr: { resolve },
  environments: { __vitest__: { resolve: { ...resolve, noExternal: [/^@skep\//] } } },
};

export default defineConfig({
  test: {
    reporters: ["default", "./tools/closing-line.ts"],
    // The tests' own engine and databases are stopped at the end; given up half-way they would live on.
    teardownTimeout: 120_000,
    projects: [
      { ...shared, test: { name: "tools", include: ["tools/**/*.test.ts"], maxWorkers: 2 } },
      {
        ...shared,
        test: {
          name: "packages",
          include: ["packages/*/{src,test}/**/*.test.ts", "apps/{master,agent,cli,up,bench}/{src,test}/**/*.test.ts"],
          globalSetup: ["packages/testkit/src/vitest/postgres-setup.ts", "packages/testkit/src/vitest/engine-setup.ts"],
          // Only bounds for failure, and above those of whatever a test awaits: a starved machine must not be what ends it.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
        },
      },
      {
        ...shared,
        test: {
          name: "e2e",
          include: ["apps/e2e/test/**/*.test.ts"],
          globalSetup: ["packages/testkit/src/vitest/postgres-setup.ts", "packages/testkit/src/vitest/engine-setup.ts"],
          testTimeout: 240_000,
          // A fleet of four agents: eight starts of node and more, each of which takes seconds on a busy machine.
          hookTimeout: 300_000,
          fileParallelism: false,
          // After the others, which share the cores.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
