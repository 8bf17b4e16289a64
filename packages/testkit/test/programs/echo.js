// Repeats its input and ends with 3.
process.stdin.pipe(process.stdout);
process.stdin.on("end", () => (process.exitCode = 3));
