"""The job in Python: aio-pika and aiohttp, on uvloop and with orjson, as one does who wants it fast."""

import asyncio
import os
import uuid
from datetime import datetime, timezone

import aio_pika
import aiohttp
import orjson
import uvloop

AMQP_URL = os.environ["AMQP_URL"]
ENDPOINT = os.environ["IMIN_BASE_URL"] + "/customer-accounts"
CONCURRENCY = int(os.environ["CONCURRENCY"])
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "X-API-KEY": os.environ["IMIN_API_KEY"],
}
BATCH = 64
LINGER = 0.005


class Acks:
    """Acknowledges in batches: everything up to the last tag without an unsettled one before it."""

    def __init__(self, channel):
        self.channel = channel
        self.settled = set()
        self.front = 0
        self.acked = 0
        self.timer = None

    async def settle(self, tag):
        self.settled.add(tag)
        while self.front + 1 in self.settled:
            self.front += 1
            self.settled.remove(self.front)
        if self.front - self.acked >= BATCH:
            await self.write()
        elif self.timer is None:
            self.timer = asyncio.create_task(self.linger())

    async def linger(self):
        await asyncio.sleep(LINGER)
        self.timer = None
        await self.write()

    async def write(self):
        if self.front > self.acked:
            self.acked = self.front
            await self.channel.basic_ack(self.front, multiple=True)


def valid(data):
    customer = data.get("customer", {})
    return (
        data.get("@context") == "https://openactive.io/"
        and data.get("@type") == "CustomerAccount"
        and customer.get("@type") == "Person"
        and all(
            isinstance(customer.get(name), str) and customer[name] for name in ("email", "givenName", "familyName")
        )
    )


def created(event, account):
    return {
        "specversion": "1.0",
        "type": "CustomerAccountCreated",
        "source": "/peer",
        "id": str(uuid.uuid4()),
        "subject": event["subject"],
        "time": datetime.now(timezone.utc).isoformat(),
        "datacontenttype": "application/json",
        "causationid": event["id"],
        "data": {
            "@context": "https://openactive.io/",
            "@type": "CustomerAccount",
            "@id": account["@id"],
            "identifier": account["identifier"],
        },
    }


async def work(message, imin, exchange):
    event = orjson.loads(message.body)
    if event["type"] != "CreateCustomer" or not valid(event["data"]):
        raise ValueError("an invalid event")
    async with imin.post(ENDPOINT, data=orjson.dumps(event["data"])) as response:
        response.raise_for_status()
        account = orjson.loads(await response.read())
    out = created(event, account)
    await exchange.publish(
        aio_pika.Message(
            orjson.dumps(out),
            content_type="application/cloudevents+json",
            message_id=out["id"],
            type=out["type"],
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        ),
        "customer.account.created",
        mandatory=True,
    )


async def worker(deliveries, imin, exchange, acks):
    while True:
        message = await deliveries.get()
        await work(message, imin, exchange)
        await acks.settle(message.delivery_tag)


async def main():
    consuming = await aio_pika.connect(AMQP_URL)
    publishing = await aio_pika.connect(AMQP_URL)
    publisher = await publishing.channel(publisher_confirms=True)
    exchange = await publisher.get_exchange("customers.events", ensure=False)
    channel = await consuming.channel()
    await channel.set_qos(prefetch_count=CONCURRENCY + max(CONCURRENCY, BATCH))
    acks = Acks(await channel.get_underlay_channel())
    deliveries = asyncio.Queue()
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as imin:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(worker(deliveries, imin, exchange, acks))
            queue = await channel.get_queue("customers.create", ensure=False)
            await queue.consume(deliveries.put)


uvloop.run(main())
