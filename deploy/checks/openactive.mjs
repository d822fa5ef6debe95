// OpenActive's validator on what a worker really sent to imin. It knows nothing of imin's own field,
// and advises things for open data (a person's birthday) that a private API asks for.
import { readFileSync } from 'node:fs';
import validator from '@openactive/data-model-validator';

const validate = validator.validate ?? validator.default.validate;
const EXPECTED = new Set(['experimental_fields_not_checked $.customer["imin:is13OrOver"]']);
let failed = false;
for (const file of process.argv.slice(2)) {
  const request = JSON.parse(readFileSync(file, 'utf8'));
  const rows = await validate(request, { loadRemoteJson: false, version: '2.0' });
  const wrong = rows.filter(
    ({ severity, type, path }) => severity !== 'notice' && severity !== 'suggestion' && !EXPECTED.has(`${type} ${path}`),
  );
  for (const { severity, type, path, message } of wrong) console.error(`${severity}: ${type} at ${path}: ${message}`);
  failed ||= wrong.length > 0;
  console.log(`openactive: ${file.split('/').pop()}: ${rows.length} remarks, ${wrong.length} against us`);
}
if (failed) process.exit(1);
