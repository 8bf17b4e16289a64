// Starts a copy of itself as a supervised child, prints its pid and waits; the child ends when we are gone.
import { spawn } from "node:child_process";
import { closeOnParentExit } from "@skep/runtime";

if (process.argv[2] === "child") {
  closeOnParentExit(() => process.exit(0));
  setInterval(() => undefined, 1_000);
  console.log(`child ${process.pid}`);
} else {
  spawn(process.execPath, [process.argv[1], "child"], { stdio: ["pipe", "inherit", "inherit"] });
}
