/** Files that must be whole or absent, with a crash between each two steps of writing them. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "@skep/testkit";
import { describe, expect, it } from "vitest";
import {
  createAuthority, createPrivateFile, loadAuthority, loadIdentity, makePrivateDir, openOrCreateAuthority, resolveAgentDir, saveIdentity, writePrivateFile, type AgentIdentity,
} from "../src/index.ts";
import { planSave } from "../src/identity-files.ts";
import { HOST_ID, keyAndSpki, makeFleet, NOW, OTHER_HOST_ID, RNG, TRUST_DOMAIN } from "./fleet.ts";
import { issueHostCert } from "../src/index.ts";

const fleet = makeFleet();
const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

const identity: AgentIdentity = {
  hostId: HOST_ID, name: "web-01", masterUrls: ["https://127.0.0.1:8443"], enrolUrls: ["https://127.0.0.1:8442"], trustDomain: TRUST_DOMAIN,
  caSha256: fleet.authority.sha256, ...fleet.asHost,
};
const rotated = (): AgentIdentity => {
  const { keyPem, spkiDer } = keyAndSpki();
  return { ...identity, keyPem, certPem: issueHostCert(fleet.authority, { ...fleet.hostWish, spkiDer }).certPem };
};
const versionsIn = (dir: string): string[] => readdirSync(dir).filter((name) => name !== "current");

describe("private files", () => {
  it("are 0600, replace what was there and leave nothing beside it", async () => {
    const dir = tempDir("with space");
    const path = join(dir, "key.pem");
    writeFileSync(path, "old", { mode: 0o644 });
    await writePrivateFile(path, "new");
    expect([readFileSync(path, "utf8"), modeOf(path), readdirSync(dir)]).toEqual(["new", "600", ["key.pem"]]);
  });

  it("are never written through a link", async () => {
    const dir = tempDir();
    writeFileSync(join(dir, "target"), "untouched");
    symlinkSync(join(dir, "target"), join(dir, "key.pem"));
    await writePrivateFile(join(dir, "key.pem"), "secret");
    expect([readFileSync(join(dir, "target"), "utf8"), readFileSync(join(dir, "key.pem"), "utf8")]).toEqual(["untouched", "secret"]);
  });

  it("leave the old file and no temporary one when the write fails", async () => {
    const dir = tempDir();
    mkdirSync(join(dir, "taken", "full"), { recursive: true });
    await expect(writePrivateFile(join(dir, "taken"), "x")).rejects.toThrow(/EISDIR|ENOTEMPTY|EEXIST/);
    expect(readdirSync(dir)).toEqual(["taken"]);
  });

  it("have one creator", async () => {
    const path = join(tempDir(), "ca.pem");
    const wins = await Promise.all(Array.from({ length: 8 }, (_, i) => createPrivateFile(path, String(i))));
    expect(wins.filter(Boolean)).toHaveLength(1);
    expect(readFileSync(path, "utf8")).toBe(String(wins.indexOf(true)));
  });

  it("live in directories of 0700, at any depth", async () => {
    const dir = join(tempDir(), "a", "b");
    await makePrivateDir(dir);
    await makePrivateDir(dir);
    expect([modeOf(dir), modeOf(join(dir, ".."))]).toEqual(["700", "700"]);
  });
});

describe("the agent's identity", () => {
  it("comes back as it was saved, 0600, and is replaced as one", async () => {
    const dir = join(tempDir("with space"), "agent");
    expect(await loadIdentity(dir)).toBeUndefined();
    await saveIdentity(dir, identity);
    expect(await loadIdentity(dir)).toEqual(identity);
    for (const name of ["agent.json", "ca.pem", "key.pem", "cert.pem"]) expect(modeOf(join(dir, "current", name))).toBe("600");
    const next = rotated();
    await saveIdentity(dir, next);
    expect(await loadIdentity(dir)).toEqual(next);
    expect(versionsIn(dir)).toEqual([readlinkSync(join(dir, "current"))]);
  });

  it("is the old one or the new one after a crash at any step, and saving again mends it", async () => {
    const steps = planSave(tempDir(), identity).length;
    const outcomes: string[] = [];
    for (let crashAt = 0; crashAt <= steps; crashAt++) {
      for (const before of [undefined, identity]) {
        const dir = join(tempDir(), "agent");
        if (before !== undefined) await saveIdentity(dir, before);
        const next = rotated();
        for (const step of planSave(dir, next).slice(0, crashAt)) await step.act();
        const found = await loadIdentity(dir);
        expect([before?.certPem, next.certPem]).toContain(found?.certPem);
        if (found !== undefined) expect(found).toEqual(found.certPem === next.certPem ? next : before);
        outcomes.push(found?.certPem === next.certPem ? "new" : "old");
        const last = rotated();
        await saveIdentity(dir, last);
        expect(await loadIdentity(dir)).toEqual(last);
      }
    }
    expect(new Set(outcomes)).toEqual(new Set(["old", "new"]));
    expect(outcomes).toEqual(outcomes.toSorted().reverse()); // one switch, no way back
  });

  it("ignores a version that was never switched to, and clears it away when its writer is dead", async () => {
    const dir = join(tempDir(), "agent");
    await saveIdentity(dir, identity);
    // No process has this id: Linux counts to 2^22.
    mkdirSync(join(dir, "identity-4194305-0123456789ab"));
    writeFileSync(join(dir, "identity-4194305-0123456789ab", "key.pem"), "half");
    symlinkSync("identity-4194305-0123456789ab", join(dir, ".identity-4194305-0123456789ab.link"));
    expect(await loadIdentity(dir)).toEqual(identity);
    await saveIdentity(dir, identity);
    expect(versionsIn(dir)).toEqual([readlinkSync(join(dir, "current"))]);
  });

  it("survives writers and readers at once", async () => {
    const dir = join(tempDir(), "agent");
    const candidates = [identity, rotated(), rotated(), rotated()];
    await saveIdentity(dir, identity);
    const reads = Array.from({ length: 30 }, async () => {
      const found = await loadIdentity(dir);
      expect(candidates).toContainEqual(found);
    });
    await Promise.all([...candidates.map((candidate) => saveIdentity(dir, candidate)), ...reads]);
    expect(candidates).toContainEqual(await loadIdentity(dir));
  });

  it.each<[string, (dir: string) => void, RegExp]>([
    ["another key", (dir) => writeFileSync(join(dir, "current", "key.pem"), fleet.asOther.keyPem), /key.pem does not belong/],
    ["another host's certificate", (dir) => (writeFileSync(join(dir, "current", "key.pem"), fleet.asOther.keyPem), writeFileSync(join(dir, "current", "cert.pem"), fleet.asOther.certPem)), /not this host's/],
    ["another CA", (dir) => writeFileSync(join(dir, "current", "ca.pem"), makeFleet().authority.certPem), /not the pinned CA/],
    ["half a certificate", (dir) => truncateSync(join(dir, "current", "cert.pem"), 100), /PEM file cannot be read/],
    ["half an agent.json", (dir) => truncateSync(join(dir, "current", "agent.json"), 10), /not valid JSON/],
    ["an empty agent.json", (dir) => writeFileSync(join(dir, "current", "agent.json"), "{}"), /no host id/],
    ["no key", (dir) => rmSync(join(dir, "current", "key.pem")), /file is missing/],
    ["a link elsewhere", (dir) => (rmSync(join(dir, "current")), symlinkSync("/etc", join(dir, "current"))), /does not point at a version/],
    ["a directory for a link", (dir) => (rmSync(join(dir, "current")), mkdirSync(join(dir, "current"))), /not a link/],
  ])("is refused with %s, saying what to do", async (_name, damage, why) => {
    const dir = join(tempDir(), "agent");
    await saveIdentity(dir, identity);
    damage(dir);
    const error: unknown = await loadIdentity(dir).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(why) });
    expect(error).toMatchObject({ detail: expect.stringMatching(/Enrol this host again/) });
  });

  it("is not saved when its parts do not fit", async () => {
    const dir = join(tempDir(), "agent");
    await saveIdentity(dir, identity);
    await expect(saveIdentity(dir, { ...identity, keyPem: fleet.asOther.keyPem })).rejects.toMatchObject({ code: "cert_mismatch" });
    await expect(saveIdentity(dir, { ...identity, hostId: OTHER_HOST_ID })).rejects.toMatchObject({ code: "cert_mismatch" });
    expect(await loadIdentity(dir)).toEqual(identity);
  });
});

describe("resolveAgentDir", () => {
  it("prefers what it is told, then the system's directory when there is one, then the home's", () => {
    const systemDir = tempDir();
    expect(resolveAgentDir({ configured: "/srv/agent", home: "/home/ann", systemDir })).toBe("/srv/agent");
    expect(resolveAgentDir({ configured: undefined, home: "/home/ann", systemDir })).toBe(systemDir);
    expect(resolveAgentDir({ configured: "", home: "/home/ann", systemDir: join(systemDir, "absent") })).toBe("/home/ann/.skep/agent");
  });
});

describe("the authority's files", () => {
  const make = () => createAuthority({ trustDomain: TRUST_DOMAIN, now: NOW, rng: RNG });

  it("are made once, 0600, and opened ever after", async () => {
    const dir = join(tempDir("with space"), "ca");
    expect(await loadAuthority(dir)).toBeUndefined();
    const made = await openOrCreateAuthority(dir, make);
    expect(await openOrCreateAuthority(dir, () => expect.fail("a second authority"))).toEqual(made);
    expect([modeOf(dir), modeOf(join(dir, "authority.pem")), readFileSync(join(dir, "ca.pem"), "utf8")]).toEqual(["700", "600", made.certPem]);
    expect(readFileSync(join(dir, "ca.pem"), "utf8")).not.toContain("PRIVATE");
  });

  it("are the same for masters that start at once", async () => {
    const dir = join(tempDir(), "ca");
    const found = await Promise.all(Array.from({ length: 6 }, () => openOrCreateAuthority(dir, make)));
    expect(new Set(found.map(({ sha256 }) => sha256)).size).toBe(1);
    expect(readdirSync(dir).toSorted()).toEqual(["authority.pem", "ca.pem"]);
  });

  it("are refused, not replaced, when they are damaged", async () => {
    const dir = join(tempDir(), "ca");
    await openOrCreateAuthority(dir, make);
    truncateSync(join(dir, "authority.pem"), 300);
    await expect(openOrCreateAuthority(dir, make)).rejects.toMatchObject({ code: "invalid_request" });
    expect(statSync(join(dir, "authority.pem")).size).toBe(300);
  });
});
