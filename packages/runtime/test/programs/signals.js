// Prints the signal it was told to stop by, and keeps running.
import { closeOnParentExit, onShutdownSignals } from "@skep/runtime";

onShutdownSignals((signal) => console.log(`stopping ${signal}`));
if (process.argv[2] === "idle") closeOnParentExit(() => console.log("closed"));
else setInterval(() => undefined, 1_000);
console.log("ready");
