/** The contract, on both servers there are. */
import { tempDatabase } from "@skep/testkit";
import { storeConformance } from "@skep/testkit/vitest";
import { inject } from "vitest";
import { openStore } from "./open-store.ts";

for (const server of ["embedded", "system"] as const) {
  const url = inject("postgres")[server];
  if (url === null) continue;
  storeConformance(`PostgreSQL (${server})`, async () => {
    const database = await tempDatabase({ url });
    const store = await openStore(database.url);
    return {
      store,
      close: async () => {
        await store.close();
        await database.drop();
      },
    };
  });
}
