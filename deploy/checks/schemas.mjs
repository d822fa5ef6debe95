// Another validator than the tests' on our JSON Schemas: strict about the schemas themselves, and their
// examples, and the events that a worker really published.
import { readFileSync } from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const [directory, captures, ...names] = process.argv.slice(2);
const read = (file) => JSON.parse(readFileSync(file, 'utf8'));
const ajv = addFormats(new Ajv2020({ strict: true, strictRequired: false, allErrors: true, allowUnionTypes: true }));
let failed = false;
const validators = new Map(
  ['create-customer-data', 'create-customer', 'customer-account-created'].map((name) => {
    const schema = read(`${directory}/${name}.schema.json`);
    return [name, { schema, validate: ajv.compile(schema) }];
  }),
);
const judge = (name, what, document) => {
  const { validate } = validators.get(name);
  if (validate(document)) return;
  failed = true;
  console.error(`${name}: ${what}: ${ajv.errorsText(validate.errors)}`);
};
for (const [name, { schema }] of validators) {
  for (const [index, example] of schema.examples.entries()) judge(name, `example ${index}`, example);
}
for (const index of names) {
  judge('customer-account-created', `event ${index}`, read(`${captures}/event-${index}.json`));
  judge('create-customer-data', `request ${index}`, read(`${captures}/request-${index}.json`));
}
if (failed) process.exit(1);
console.log(`schemas: ${validators.size} schemas, their examples and ${names.length} events and requests: valid`);
