// Takes the lock, says so, and gives it free when stdin ends.
import { lockStateDir } from "@skep/runtime";

try {
  const lock = lockStateDir(process.argv[2]);
  console.log("locked");
  process.stdin.on("end", () => lock.release()).resume();
} catch (error) {
  console.log(`refused ${error.code}`);
}
