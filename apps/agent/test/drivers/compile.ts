/**
 * The sources as JavaScript in a scratch directory: Node 20 cannot run TypeScript, and a test that ran `dist/` would
 * test yesterday's build. Types are not checked here; `npm run check` does that.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));
const OPTIONS = ["--ignoreConfig", "--module", "nodenext", "--target", "es2023", "--noCheck", "--skipLibCheck", "--rewriteRelativeImportExtensions", "--verbatimModuleSyntax", "--types", "node"];

function emit(rootDir: string, entries: readonly string[], outDir: string): void {
  const tsc = join(repository, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, ...OPTIONS, "--rootDir", rootDir, "--outDir", outDir, ...entries], { stdio: "pipe" });
  writeFileSync(join(outDir, "package.json"), `{"type":"module"}`);
}

/** Returns the path of a runner made of nothing but `src/runner`; gRPC, which only such a probe loads, is found where the repository has it. */
export function compileRunner(outDir: string): string {
  const root = join(repository, "apps/agent/src/runner");
  mkdirSync(outDir, { recursive: true });
  emit(root, [join(root, "main.ts")], outDir);
  symlinkSync(join(repository, "node_modules"), join(outDir, "node_modules"));
  return join(outDir, "main.js");
}

/** Returns the path of a program of this directory that uses the driver, with core beside it. */
export function compileProgram(name: string, outDir: string): string {
  const core = join(outDir, "node_modules/@skep/core");
  mkdirSync(core, { recursive: true });
  emit(join(repository, "packages/core/src"), [join(repository, "packages/core/src/index.ts")], core);
  writeFileSync(join(core, "package.json"), `{"name":"@skep/core","type":"module","exports":"./index.js"}`);
  const root = join(repository, "apps/agent");
  emit(root, [join(root, "test/drivers", `${name}.ts`)], join(outDir, "agent"));
  return join(outDir, "agent/test/drivers", `${name}.js`);
}
