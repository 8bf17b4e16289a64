#!/usr/bin/env node
// Built code: `npm run bench` builds first.
import { main } from "../dist/main.js";

process.exitCode = await main(process.argv.slice(2));
