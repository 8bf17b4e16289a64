/**
 * An ordinary multi-service application (web, api, cache, database), as thousands of published Compose files have it,
 * and images of a static busybox under the tags it names. The stand-ins keep the shape that matters: each service
 * listens on its port, the database writes into its volume, the health checks call the programs their images bring,
 * and the api finds its neighbours by name or does not become healthy.
 */
import type { EngineKit } from "@skep/testkit";

export const COMPOSE = `name: shop
services:
  web:
    image: nginx:1.27-alpine
    ports:
      - "80"
    depends_on:
      api:
        condition: service_healthy
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 1s
      timeout: 2s
      retries: 20
    restart: unless-stopped
  api:
    image: example/api:1.0
    environment:
      DATABASE_URL: postgres://app:\${DB_PASSWORD:-secret}@db:5432/app
      CACHE_URL: redis://cache:6379
    depends_on:
      db:
        condition: service_healthy
      cache:
        condition: service_healthy
      migrate:
        condition: service_completed_successfully
    healthcheck:
      test: ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:8080/health"]
      interval: 1s
      timeout: 2s
      retries: 20
    deploy:
      resources:
        limits:
          cpus: "0.50"
          memory: 64M
    restart: always
  migrate:
    image: example/api:1.0
    command: ["/bin/migrate"]
    depends_on:
      db:
        condition: service_healthy
    restart: "no"
  cache:
    image: redis:7-alpine
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 1s
      timeout: 2s
      retries: 20
    restart: always
  db:
    image: postgres:16-alpine
    environment:
      POSTGRES_USER: app
      POSTGRES_PASSWORD: \${DB_PASSWORD:-secret}
      POSTGRES_DB: app
    volumes:
      - db-data:/var/lib/postgresql/data
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U app -d app"]
      interval: 1s
      timeout: 2s
      retries: 20
    stop_grace_period: 3s
    restart: always
volumes:
  db-data:
`;

/** A shell as PID 1 takes no SIGTERM unless it says so. */
const serve = (lines: string): string => `#!/bin/sh\ntrap 'exit 0' TERM INT\n${lines}\nwhile true; do sleep 1000 & wait $!; done\n`;
const API = serve(`
until wget -q -O /dev/null http://db:5432/ && wget -q -O /dev/null http://cache:6379/; do sleep 0.1; done
mkdir -p /www && echo "$VERSION" > /www/version && echo ok > /www/health
httpd -p 8080 -h /www
echo "api $VERSION is up"`);

const MIGRATE = `#!/bin/sh
wget -q -O /dev/null http://db:5432/ || exit 1
echo migrated
`;
const api = (version: string) => ({ cmd: ["/bin/api"], env: { VERSION: version }, files: { "/bin/api": API, "/bin/migrate": MIGRATE } });

/** Makes every image that the file names, a next version of the api (1.1), and two bad ones: 2.0-exits and 2.0-sick. */
export async function makeShopImages(engine: EngineKit): Promise<void> {
  await engine.image("nginx:1.27-alpine", { entrypoint: ["/bin/web"], expose: ["80/tcp"], files: { "/bin/web": serve("mkdir -p /www && echo shop > /www/index.html\nhttpd -p 80 -h /www\necho web is up") } });
  await engine.image("redis:7-alpine", {
    entrypoint: ["/bin/redis-server"], expose: ["6379/tcp"],
    files: { "/bin/redis-server": serve("mkdir -p /www && echo > /www/index.html\nhttpd -p 6379 -h /www\necho cache is up"), "/bin/redis-cli": "#!/bin/sh\nwget -q -O /dev/null http://127.0.0.1:6379/ && echo PONG\n" },
  });
  await engine.image("postgres:16-alpine", {
    entrypoint: ["/bin/postgres"], expose: ["5432/tcp"],
    files: { "/bin/postgres": serve("[ -e /var/lib/postgresql/data/starts ] && echo started before\necho started >> /var/lib/postgresql/data/starts\nmkdir -p /www && echo > /www/index.html\nhttpd -p 5432 -h /www\necho db is up"), "/bin/pg_isready": "#!/bin/sh\nwget -q -O /dev/null http://127.0.0.1:5432/\n" },
  });
  for (const version of ["1.0", "1.1"]) await engine.image(`example/api:${version}`, api(version));
  await engine.image("example/api:2.0-exits", { entrypoint: ["/bin/sh", "-c", "echo cannot open its schema; exit 3"] });
  await engine.image("example/api:2.0-sick", { entrypoint: ["/bin/sick"], files: { "/bin/sick": serve("echo up and useless") } });
}
