#!/usr/bin/env node
// The master's process. Everything is in dist/main.js; this file only turns its result into an exit code.
import process from "node:process";
import { main } from "../dist/main.js";

process.exit(await main(process.argv.slice(2)));
