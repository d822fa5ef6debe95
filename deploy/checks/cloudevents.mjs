// A CloudEvents SDK that is not ours reads what a worker really published.
import { readFileSync } from 'node:fs';
import { CloudEvent, HTTP } from 'cloudevents';

for (const file of process.argv.slice(2)) {
  const body = readFileSync(file, 'utf8');
  const event = HTTP.toEvent({ headers: { 'content-type': 'application/cloudevents+json' }, body });
  // The constructor is strict, unlike the reader.
  new CloudEvent(event).validate();
  const { type, causationid, data } = event;
  if (type !== 'CustomerAccountCreated' || !causationid || !data.identifier) {
    throw new Error(`${file}: ${type}, ${causationid}, ${data?.identifier}`);
  }
  console.log(`cloudevents: ${file.split('/').pop()}: ${type} for ${causationid}: valid`);
}
