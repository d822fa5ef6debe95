// The AsyncAPI project's own parser on our document: valid, and every example with it.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
const severities = ['error', 'warning', 'information', 'hint'];
// The parser advises a newer version of AsyncAPI than its own specification's examples use.
const told = diagnostics.filter((found) => found.code !== 'asyncapi-latest-version');
for (const found of told) {
  console.error(`${severities[found.severity]}: ${found.path.join('.')}: ${found.message}`);
}
if (!document || told.some((found) => found.severity < 2)) process.exit(1);
const count = (list) => list.all().length;
console.log(
  `asyncapi: ${file}: valid; ${count(document.channels())} channels, ` +
    `${count(document.operations())} operations, ${count(document.allMessages())} messages`,
);
