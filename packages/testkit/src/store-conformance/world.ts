/** What every conformance test starts from: a store, and short ways to put a host, a deployment and a row into it. */
import { instant, seededRng, uuidv7 } from "@skep/core";
import type {
  BeatWrite, DeploymentId, DesiredState, Fingerprint, HostId, JobId, LifecycleRow, NewLifecycleRow, PlacementId, PlacementView, ReportedPlacement, Spec, Store, TokenId,
} from "@skep/core";

export interface OpenedStore {
  readonly store: Store;
  close(): Promise<void>;
}

const BASE_MS = Date.UTC(2026, 5, 1);
const rng = seededRng(7);
let made = 0;
/** Sorted by creation, as the product's are. */
export const newId = <T extends string>(): T => uuidv7(instant(BASE_MS + made++), rng) as T;
/** 64 hex digits, different each time. */
export const newHash = (): string => [...rng.bytes(32)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export const SPEC: Spec = {
  driver: "noop",
  components: [{ name: "main", command: ["/bin/true"], env: {}, ports: [], restart: { policy: "always" }, depends_on: [], stop_timeout_s: 10 }],
};

export interface Placed {
  readonly hostId: HostId;
  readonly deploymentId: DeploymentId;
  readonly placementId: PlacementId;
  readonly name: string;
}

export class World {
  readonly store: Store;
  constructor(store: Store) {
    this.store = store;
  }

  async host(name = `host-${made++}`, options: { readonly heard?: boolean; readonly labels?: Record<string, string> } = {}): Promise<HostId> {
    const id = newId<HostId>();
    await this.store.transaction(async (tx) => {
      await tx.insertHost({ id, name, labels: options.labels ?? {}, notes: undefined, address: "10.0.0.1", agentPort: 8442, allowedCidr: undefined });
      if (options.heard !== false) await tx.casHostStatus(id, "pending", "active", "test");
    });
    return id;
  }

  /** A deployment of one placement, with its first generation. */
  async placed(hostId?: HostId, desired: DesiredState = "running"): Promise<Placed> {
    const on = hostId ?? (await this.host());
    const placed = { hostId: on, deploymentId: newId<DeploymentId>(), placementId: newId<PlacementId>(), name: `app-${made++}` };
    await this.store.transaction(async (tx) => {
      await tx.insertDeployment({ id: placed.deploymentId, name: placed.name, generation: 1, desired, reconcile: "auto", placement: { hosts: ["x"] }, rollout: {} });
      await tx.insertGeneration({ deploymentId: placed.deploymentId, generation: 1, spec: SPEC, specHash: "a".repeat(64) });
      await tx.insertPlacement({ id: placed.placementId, deploymentId: placed.deploymentId, hostId: on, desired, epoch: 1, generation: 1 });
    });
    return placed;
  }

  newRow(placed: Placed, patch: Partial<NewLifecycleRow> = {}): NewLifecycleRow {
    const { placementId, deploymentId, hostId } = placed;
    return { id: newId<JobId>(), placementId, deploymentId, hostId, operation: "deploy", generation: 1, epoch: 1, timeoutS: 600, because: "test", ...patch };
  }

  async row(placed: Placed, patch: Partial<NewLifecycleRow> = {}): Promise<LifecycleRow> {
    const row = this.newRow(placed, patch);
    const inserted = await this.store.transaction((tx) => tx.insertLifecycle(row));
    if (inserted !== "inserted") throw new Error(`the placement already has an open row`);
    return (await this.store.findLifecycle(row.id))!;
  }

  /** Opens a session and returns a maker of full beats of it. */
  async session(hostId: HostId, bootId = newId()): Promise<(seq: number, patch?: Partial<NonNullable<BeatWrite["full"]>>) => BeatWrite> {
    const opened = await this.store.transaction((tx) => tx.openSession(hostId, { bootId, hostBootId: "kernel", agentVersion: "1.0.0", agentUrl: "https://10.0.0.1:8442" }));
    if (opened === undefined) throw new Error("the host opens no session");
    return (seq, patch = {}) => ({
      hostId,
      agentVersion: "1.0.0",
      full: {
        bootId, sessionEpoch: opened.sessionEpoch, seq, opSeq: 0, phase: "ready", jobIds: [], jobsTruncated: false, placements: [], observedError: undefined,
        resources: { load: 1 }, capabilities: ["noop"], cert: undefined, boot: undefined, snapshotHash: "same", ...patch,
      },
    });
  }

  beat(...beats: readonly BeatWrite[]) {
    return this.store.transaction((tx) => tx.writeBeats(beats), { pool: "beats" });
  }

  async view(placed: Placed): Promise<PlacementView> {
    return (await this.store.findPlacement(placed.placementId))!;
  }

  async cert(hostId: HostId, status: "active" | "pending" = "active", spkiSha256 = newHash()): Promise<Fingerprint> {
    const fingerprint = newHash() as Fingerprint;
    const now = await this.store.now();
    const inserted = await this.store.transaction((tx) =>
      tx.insertCert({ fingerprint, hostId, spkiSha256, status, notBefore: instant(now - 1_000), notAfter: instant(now + 86_400_000) }),
    );
    if (!inserted) throw new Error("the key is in use");
    return fingerprint;
  }

  async token(hostId: HostId, ttlMs = 900_000): Promise<TokenId> {
    const id = newId<TokenId>();
    const now = await this.store.now();
    await this.store.transaction((tx) => tx.insertToken({ id, hostId, secretHash: newHash(), expiresAt: instant(now + ttlMs) }));
    return id;
  }
}

export const reported = (placed: Placed, patch: Partial<ReportedPlacement> = {}): ReportedPlacement => ({
  placement_id: placed.placementId, deployment: placed.name, epoch: 1, generation: 1, spec_hash: "a".repeat(64), state: "running",
  components: [{ name: "main", state: "running", restarts: 0 }], ...patch,
});
