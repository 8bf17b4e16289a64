// A child as the supervisor expects one: a ready line, and an end when its stdin ends. `mode` breaks one promise.
const [mode = "good"] = process.argv.slice(2);
if (mode === "stubborn") process.on("SIGTERM", () => {});
if (mode === "dies") {
  process.stderr.write("the disk is on fire\n");
  process.exit(3);
}
if (mode === "babbles") process.stdout.write("hello\n");
else if (mode !== "silent") process.stdout.write(`${JSON.stringify({ pid: process.pid, mode })}\n`);
process.stdin.on("end", () => process.exit(0)).resume();
