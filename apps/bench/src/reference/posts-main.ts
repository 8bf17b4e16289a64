/** The reference for fan-out: one POST to each listener over connections that are open already. */
import { serveCommands } from "../stage/worker.ts";
import { openConnection, type Connection, type Target } from "../load/connection.ts";

export interface PostsCommand {
  readonly me: { readonly certPem: string; readonly keyPem: string };
  readonly targets: readonly Target[];
}

let open: Connection[] = [];

serveCommands({
  async open({ me, targets }: PostsCommand) {
    open = [];
    const left = [...targets];
    const lane = async (): Promise<void> => {
      for (let target = left.shift(); target !== undefined; target = left.shift()) open.push(await openConnection(target, me));
    };
    await Promise.all(Array.from({ length: 32 }, lane));
    return open.length;
  },
  /** Milliseconds until all have answered 202; as many under way as the master's dispatcher claims at once. */
  async round({ body }: { readonly body: string }) {
    const left = [...open];
    const started = performance.now();
    const lane = async (): Promise<void> => {
      for (let connection = left.shift(); connection !== undefined; connection = left.shift()) {
        const { status } = await connection.post("/deploy", body);
        if (status !== 202) throw new Error(`a listener answered ${status}`);
      }
    };
    await Promise.all(Array.from({ length: 256 }, lane));
    return performance.now() - started;
  },
});
