// The job in Java: RabbitMQ's own client, the JDK's HTTP client, Jackson. Nobody waits on a thread.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Instant;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

public final class Peer {
    private static final int BATCH = 64;
    private static final long LINGER_MS = 5;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Channel consumer;
    private final Channel publisher;
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1)
            .executor(Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors())).build();
    private final HttpRequest.Builder request;
    private final Semaphore permits;
    /** The tag of each event whose confirm has not come yet, by its publish's number. */
    private final ConcurrentNavigableMap<Long, Long> unconfirmed = new ConcurrentSkipListMap<>();
    private final Acks acks = new Acks();

    private Peer(String amqpUrl, String baseUrl, String key, int concurrency) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(amqpUrl);
        consumer = factory.newConnection().createChannel();
        publisher = factory.newConnection().createChannel();
        consumer.basicQos(concurrency + Math.max(concurrency, BATCH));
        publisher.confirmSelect();
        publisher.addConfirmListener(this::confirmed, (number, multiple) -> fail(new IOException("a nack")));
        permits = new Semaphore(concurrency);
        request = HttpRequest.newBuilder(URI.create(baseUrl + "/customer-accounts"))
                .header("Content-Type", "application/json")
                .header("Accept", "application/json")
                .header("X-API-KEY", key);
    }

    /** Acknowledges in batches: everything up to the last tag without an unsettled one before it. */
    private final class Acks {
        private final TreeMap<Long, Boolean> settled = new TreeMap<>();
        private long front;
        private long acked;

        synchronized void settle(long tag) throws IOException {
            settled.put(tag, true);
            while (settled.remove(front + 1) != null) {
                front += 1;
            }
            if (front - acked >= BATCH) {
                write();
            }
        }

        synchronized void write() throws IOException {
            if (front > acked) {
                acked = front;
                consumer.basicAck(front, true);
            }
        }
    }

    private void run() throws Exception {
        Executors.newSingleThreadScheduledExecutor().scheduleWithFixedDelay(
                () -> attempt(acks::write), LINGER_MS, LINGER_MS, TimeUnit.MILLISECONDS);
        LinkedBlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
        consumer.basicConsume("customers.create", false,
                (tag, delivery) -> deliveries.add(delivery),
                tag -> fail(new IOException("the consumer was cancelled")));
        while (true) {
            Delivery delivery = deliveries.take();
            permits.acquire();
            start(delivery);
        }
    }

    private void start(Delivery delivery) throws IOException {
        JsonNode event = JSON.readTree(delivery.getBody());
        JsonNode data = event.path("data");
        if (!event.path("type").asText().equals("CreateCustomer") || !valid(data)) {
            throw new IOException("an invalid event");
        }
        HttpRequest create = request.copy().POST(BodyPublishers.ofByteArray(JSON.writeValueAsBytes(data))).build();
        http.sendAsync(create, BodyHandlers.ofByteArray()).whenComplete((response, error) -> attempt(() -> {
            if (error != null) {
                throw new IOException(error);
            }
            publish(delivery, event, response);
        }));
    }

    private static boolean valid(JsonNode data) {
        JsonNode customer = data.path("customer");
        return data.path("@context").asText().equals("https://openactive.io/")
                && data.path("@type").asText().equals("CustomerAccount")
                && customer.path("@type").asText().equals("Person")
                && filled(customer, "email") && filled(customer, "givenName") && filled(customer, "familyName");
    }

    private static boolean filled(JsonNode customer, String name) {
        JsonNode value = customer.path(name);
        return value.isTextual() && !value.asText().isEmpty();
    }

    private void publish(Delivery delivery, JsonNode event, HttpResponse<byte[]> response) throws IOException {
        JsonNode account = JSON.readTree(response.body());
        if (response.statusCode() != 201 || !account.hasNonNull("identifier")) {
            throw new IOException("imin answered " + response.statusCode());
        }
        String id = UUID.randomUUID().toString();
        byte[] body = JSON.writeValueAsBytes(created(id, event, account));
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                .contentType("application/cloudevents+json").messageId(id).type("CustomerAccountCreated")
                .deliveryMode(2).build();
        // The number and the publish belong together.
        synchronized (publisher) {
            unconfirmed.put(publisher.getNextPublishSeqNo(), delivery.getEnvelope().getDeliveryTag());
            publisher.basicPublish("customers.events", "customer.account.created", true, properties, body);
        }
    }

    private static ObjectNode created(String id, JsonNode event, JsonNode account) {
        ObjectNode out = JSON.createObjectNode()
                .put("specversion", "1.0").put("type", "CustomerAccountCreated").put("source", "/peer")
                .put("id", id).put("subject", event.path("subject").asText())
                .put("time", Instant.now().toString()).put("datacontenttype", "application/json")
                .put("causationid", event.path("id").asText());
        out.putObject("data").put("@context", "https://openactive.io/").put("@type", "CustomerAccount")
                .put("@id", account.path("@id").asText()).put("identifier", account.path("identifier").asText());
        return out;
    }

    private void confirmed(long number, boolean multiple) throws IOException {
        if (multiple) {
            ConcurrentNavigableMap<Long, Long> all = unconfirmed.headMap(number, true);
            for (long tag : all.values()) {
                finish(tag);
            }
            all.clear();
        } else {
            finish(unconfirmed.remove(number));
        }
    }

    private void finish(long tag) throws IOException {
        permits.release();
        acks.settle(tag);
    }

    private interface Step {
        void run() throws Exception;
    }

    /** The bench has nothing that fails: an error ends the peer. */
    private static void attempt(Step step) {
        try {
            step.run();
        } catch (Exception error) {
            fail(error);
        }
    }

    private static void fail(Exception error) {
        error.printStackTrace();
        Runtime.getRuntime().halt(1);
    }

    public static void main(String[] arguments) {
        attempt(() -> new Peer(
                System.getenv("AMQP_URL"), System.getenv("IMIN_BASE_URL"), System.getenv("IMIN_API_KEY"),
                Integer.parseInt(System.getenv("CONCURRENCY"))).run());
    }
}
