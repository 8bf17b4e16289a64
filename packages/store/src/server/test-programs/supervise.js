// A supervisor in small: starts PostgreSQL, prints one JSON line, stops it when stdin ends.
// Arguments: data directory, death watch ("kernel" or "watchdog").
import { createLogger, systemClock } from "@skep/runtime";
import { startEmbeddedPostgres } from "@skep/store/server";

const [dataDir, deathWatch] = process.argv.slice(2);
const logger = createLogger({ name: "supervise", level: "debug", destination: "stderr" });
const { url, pid, how, exited, stop } = await startEmbeddedPostgres({ dataDir, deathWatch, clock: systemClock(), logger, extraConfig: { fsync: "off" } });
console.log(JSON.stringify({ url, pid, how }));
process.stdin.on("end", stop).resume();
await exited;
