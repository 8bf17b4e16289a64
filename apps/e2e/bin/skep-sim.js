#!/usr/bin/env node
// Built code: `npx tsc -b apps/e2e` first.
import { runCli } from "../dist/sim/cli.js";

process.exitCode = await runCli(process.argv.slice(2), (line) => console.log(line));
