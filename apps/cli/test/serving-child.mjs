// Stands for a program that `skep` starts: it serves until it is told to stop, says by what, and ends with 7.
// SKEP_SUPERVISED says that its stdin is its supervisor's life.
const stop = (why) => {
  process.stdout.write(`stopping: ${why}\n`);
  process.exit(7);
};
process.on("SIGTERM", () => stop("SIGTERM"));
process.on("SIGINT", () => stop("SIGINT"));
if (process.env.SKEP_SUPERVISED !== "1") stop("nobody said that stdin is to be watched");
process.stdin.on("end", () => stop("parent gone")).resume();
process.stdout.write(`ready ${process.pid}\n`);
