/**
 * The schema as one text, from the catalogue: what the migrations add up to, in an order that depends on names only
 * and in words that PostgreSQL 15 and 18 share.
 */
import { runSql } from "@skep/store/server";

const OURS = "n.nspname = 'public' AND c.relname <> 'schema_migrations'";

const PARTS: readonly (readonly [title: string, query: string])[] = [
  [
    "domains",
    `SELECT 'DOMAIN ' || t.typname || ' AS ' || format_type(t.typbasetype, t.typtypmod) || coalesce(' ' || string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname), '') AS line
     FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_constraint k ON k.contypid = t.oid AND k.contype = 'c'
     WHERE n.nspname = 'public' AND t.typtype = 'd' GROUP BY t.oid, t.typname ORDER BY t.typname`,
  ],
  [
    "tables",
    `SELECT 'TABLE ' || c.relname || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') || E'\\n' || string_agg(
       '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
       || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''), E'\\n' ORDER BY a.attnum) AS line
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relkind = 'r' AND ${OURS} GROUP BY c.oid, c.relname ORDER BY c.relname`,
  ],
  [
    "constraints",
    `SELECT c.relname || ' CONSTRAINT ' || k.conname || ' ' || pg_get_constraintdef(k.oid) AS line
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype IN ('p', 'u', 'f', 'c', 'x') AND ${OURS} ORDER BY c.relname, k.conname`,
  ],
  [
    "indexes",
    `SELECT pg_get_indexdef(i.indexrelid) AS line
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class x ON x.oid = i.indexrelid
     WHERE ${OURS} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u')) ORDER BY c.relname, x.relname`,
  ],
  [
    "functions",
    `SELECT rtrim(pg_get_functiondef(p.oid), E'\\n') AS line FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public' ORDER BY p.proname`,
  ],
  [
    "triggers",
    `SELECT pg_get_triggerdef(t.oid) AS line FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND ${OURS} ORDER BY c.relname, t.tgname`,
  ],
];

export async function canonicalSchema(url: string): Promise<string> {
  const parts = ["-- What the migrations add up to. Written by packages/store/test/migrations.test.ts (vitest -u); never run, only compared."];
  for (const [title, query] of PARTS) {
    const rows = await runSql(url, query);
    parts.push(`-- ${title}\n${rows.map((row) => `${String(row["line"])};`).join("\n")}`);
  }
  return `${parts.join("\n\n")}\n`;
}
