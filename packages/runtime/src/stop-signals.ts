/** The two ways a process is told to stop: a signal, and the end of the pipe that its supervisor holds open. */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
export type StopSignal = (typeof SIGNALS)[number];
/** 128 + SIGINT, what a shell expects of an interrupted program. */
const INTERRUPTED_EXIT_CODE = 130;

/**
 * Calls `handler` once, at the first SIGINT or SIGTERM. A second SIGINT ends the process at once: a person who presses
 * Ctrl-C twice means it. (Not a second SIGTERM: supervisors repeat that one.) Returns how to stop listening.
 */
export function onShutdownSignals(handler: (signal: StopSignal) => void): () => void {
  let stopping = false;
  const receive = (signal: StopSignal): void => {
    if (!stopping) {
      stopping = true;
      handler(signal);
    } else if (signal === "SIGINT") process.exit(INTERRUPTED_EXIT_CODE);
  };
  for (const signal of SIGNALS) process.on(signal, receive);
  return () => {
    for (const signal of SIGNALS) process.off(signal, receive);
  };
}

/**
 * Calls `handler` once when the supervisor is gone, `kill -9` included: the kernel then closes its end of our stdin
 * and of the IPC channel. Only for processes started with a pipe as stdin: /dev/null ends at once.
 * Listening does not keep the process alive. Returns how to stop listening.
 */
export function closeOnParentExit(handler: () => void): () => void {
  const { stdin } = process;
  let done = false;
  const stop = (): void => {
    done = true;
    stdin.off("end", gone).off("close", gone).off("error", gone);
    process.off("disconnect", gone);
  };
  const gone = (): void => {
    if (done) return;
    stop();
    // An error after the end must not become an uncaught one.
    stdin.on("error", () => undefined);
    handler();
  };
  stdin.on("end", gone).on("close", gone).on("error", gone);
  process.on("disconnect", gone);
  stdin.resume();
  (stdin as unknown as { unref?: () => void }).unref?.();
  return stop;
}
