/** Exit 0 when the master says that it is ready. The CA is the one on its own disk. */
import { readFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";

const ca = readFileSync(join(process.env.SKEP_STATE_DIR ?? "/var/lib/skep", "ca", "ca.pem"));
get(process.argv[2], { ca, timeout: 4_000 }, (reply) => process.exit(reply.statusCode === 200 ? 0 : 1))
  .on("timeout", () => process.exit(1))
  .on("error", () => process.exit(1));
