// The job in Node.js: amqplib and an undici pool.

import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { Pool } from 'undici'

const { AMQP_URL, IMIN_BASE_URL, IMIN_API_KEY, CONCURRENCY } = process.env
const concurrency = Number(CONCURRENCY)
const BATCH = 64
const LINGER_MS = 5

const base = new URL(IMIN_BASE_URL)
const imin = new Pool(base.origin, { connections: concurrency, pipelining: 1 })
const path = `${base.pathname}/customer-accounts`
const headers = { 'content-type': 'application/json', accept: 'application/json', 'x-api-key': IMIN_API_KEY }

// What ends the peer: the bench has no such event.
const fail = (error) => {
  console.error(error)
  process.exit(1)
}

const consuming = await connect(AMQP_URL)
const publishing = await connect(AMQP_URL)
const consumer = await consuming.createChannel()
const publisher = await publishing.createConfirmChannel()
for (const emitter of [consuming, publishing, consumer, publisher]) emitter.on('error', fail)
publisher.on('return', () => fail(new Error('nobody subscribes to the created events')))
await consumer.prefetch(concurrency + Math.max(concurrency, BATCH))

// Tags that are settled; everything up to `acked` is acknowledged.
const settled = new Set()
let acked = 0
let front = 0
let timer = null

function acknowledge() {
  clearTimeout(timer)
  timer = null
  if (front > acked) {
    acked = front
    consumer.ack({ fields: { deliveryTag: front } }, true)
  }
}

function settle(tag) {
  settled.add(tag)
  while (settled.delete(front + 1)) front += 1
  if (front - acked >= BATCH) acknowledge()
  else if (timer === null) timer = setTimeout(acknowledge, LINGER_MS)
}

function valid(data) {
  const customer = data?.customer
  return (
    data?.['@context'] === 'https://openactive.io/' &&
    data['@type'] === 'CustomerAccount' &&
    customer?.['@type'] === 'Person' &&
    [customer.email, customer.givenName, customer.familyName].every((text) => typeof text === 'string' && text !== '')
  )
}

function created(event, account) {
  return {
    specversion: '1.0',
    type: 'CustomerAccountCreated',
    source: '/peer',
    id: randomUUID(),
    subject: event.subject,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    causationid: event.id,
    data: {
      '@context': 'https://openactive.io/',
      '@type': 'CustomerAccount',
      '@id': account['@id'],
      identifier: account.identifier,
    },
  }
}

async function work(message) {
  const event = JSON.parse(message.content)
  if (event.type !== 'CreateCustomer' || !valid(event.data)) throw new Error('an invalid event')
  const response = await imin.request({ method: 'POST', path, headers, body: JSON.stringify(event.data) })
  const account = await response.body.json()
  if (response.statusCode !== 201 || !account.identifier) throw new Error(`imin answered ${response.statusCode}`)
  const out = created(event, account)
  const properties = {
    persistent: true,
    mandatory: true,
    contentType: 'application/cloudevents+json',
    messageId: out.id,
    type: out.type,
  }
  publisher.publish(
    'customers.events',
    'customer.account.created',
    Buffer.from(JSON.stringify(out)),
    properties,
    (error) => {
      if (error) fail(error)
      finish(message)
    },
  )
}

// The prefetch is larger than the concurrency: what is above it waits here.
const waiting = []
let busy = 0

function start(message) {
  busy += 1
  work(message).catch(fail)
}

function finish(message) {
  busy -= 1
  settle(message.fields.deliveryTag)
  if (waiting.length > 0) start(waiting.shift())
}

await consumer.consume('customers.create', (message) => {
  if (message === null) fail(new Error('the consumer was cancelled'))
  if (busy < concurrency) start(message)
  else waiting.push(message)
})
