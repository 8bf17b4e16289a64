/** What others may use of the benchmark: its arithmetic and its report. The measurements run as a program. */
export { judge, spreadOf, type Goal, type Row, type Spread } from "./report/row.ts";
export { toJson, toMarkdown, toText, type JsonRow } from "./report/print.ts";
