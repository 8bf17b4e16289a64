/** Masters on a ledger in memory whose clock the test moves; what they send goes over real HTTP. */
import { Writable } from "node:stream";
import { PRODUCTION_POLICY, seededRng, timingsFor, uuidv7, type EventSeverity, type HostId, type HostStatus, type NewEvent, type Retention } from "@skep/core";
import { createWebhookRequest } from "@skep/protocol";
import { createLogger, specHash } from "@skep/runtime";
import { ManualClock, createMemoryDatabase, type MemoryDatabase, type MemorySession, type SessionOptions } from "@skep/testkit";
import { createControl, type Control } from "../../src/control/index.ts";
import type { OperatorContext } from "../../src/ports.ts";
import { createWebhookSender } from "../../src/webhooks/send.ts";
import { fakeAgents } from "../http/harness.ts";

export const COOL_MS = 900_000;

export interface AlertRig {
  readonly clock: ManualClock;
  readonly database: MemoryDatabase;
  readonly store: MemorySession;
  readonly control: Control;
  /** Everything that was logged. */
  readonly logs: string[];
  another(options?: SessionOptions): Promise<{ readonly control: Control; readonly store: MemorySession }>;
  context(): OperatorContext;
  host(name: string, status?: HostStatus): Promise<HostId>;
  happen(kind: string, patch?: Partial<NewEvent>): Promise<void>;
  addWebhook(name: string, url: string, filter?: { kinds?: string[]; min_severity?: EventSeverity }): Promise<string>;
  /** One look, and everything that follows of it is sent and recorded. */
  look(): Promise<void>;
  deliver(): Promise<void>;
}

export async function startAlertRig({ warm = true, retention }: { readonly warm?: boolean; readonly retention?: Retention } = {}): Promise<AlertRig> {
  const clock = new ManualClock();
  const database = createMemoryDatabase({ clock, policy: PRODUCTION_POLICY });
  const rng = seededRng(3);
  const logs: string[] = [];
  const logger = createLogger({ name: "test", level: "debug", destination: new Writable({ write: (chunk: Buffer, _encoding, done) => (logs.push(chunk.toString("utf8")), done()) }) });
  const timings = timingsFor(30_000);
  const sender = createWebhookSender({ clock, allowLoopback: true, userAgent: "skep/test" });
  const another = async (options?: SessionOptions): Promise<{ control: Control; store: MemorySession }> => {
    const session = database.connect(options);
    const control = await createControl(
      { store: session, agents: fakeAgents(), clock, rng, logger, policy: PRODUCTION_POLICY, timings, hash: specHash, failpoint: () => undefined },
      { webhooks: { sender, allowLoopback: true }, alertCoolDownMs: COOL_MS, retention },
    );
    return { control, store: session };
  };
  const { control, store } = await another();
  await control.alertOnce();
  if (warm) clock.advance(timings.warmUpMs);
  const context = (): OperatorContext => ({ actor: "token:test", requestId: uuidv7(clock.now(), rng), idempotency: undefined });
  const deliver = async (): Promise<void> => {
    while ((await control.deliverOnce()).started > 0) await control.drainDeliveries();
  };
  return {
    clock, database, store, control, logs, another, context, deliver,
    host: async (name, status = "active") => {
      const id = uuidv7(clock.now(), rng) as HostId;
      await store.transaction(async (tx) => {
        await tx.insertHost({ id, name, labels: {}, notes: undefined, address: "10.0.0.1", agentPort: 1, allowedCidr: undefined });
        await tx.casHostStatus(id, "pending", status, "test");
      });
      return id;
    },
    happen: (kind, patch = {}) => store.transaction((tx) => tx.appendEvent({ kind, severity: "warning", message: `message of ${kind}`, ...patch })),
    addWebhook: async (name, url, filter = {}) => (await control.createWebhook(createWebhookRequest.parse({ name, url, ...filter }), context())).body.secret,
    look: async () => {
      await control.alertOnce();
      await deliver();
    },
  };
}
