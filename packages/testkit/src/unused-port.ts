/**
 * A port for a test that has to name one before anybody listens there. It is below the range from which the kernel
 * gives ports to connections and to `listen(0)`, so that nobody gets it by chance between the look and the use.
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const LOWEST = 10_000;
/** Linux' default; other systems begin higher. */
const USUAL_END = 32_768;
const MAX_TRIES = 100;

/** Free on all addresses just now. Throws when the kernel's range leaves none. */
export async function unusedPort(): Promise<number> {
  const end = ephemeralStart();
  for (let tries = 0; tries < MAX_TRIES && end > LOWEST; tries++) {
    const port = randomInt(LOWEST, end);
    if (await isFree(port)) return port;
  }
  throw new Error(`no unused port was found between ${LOWEST} and ${end}`);
}

function ephemeralStart(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/)[0]);
  } catch {
    return USUAL_END;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
