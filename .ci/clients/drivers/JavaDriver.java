import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * Driver of Kafka's own Java client. Run as one source file with Kafka's jars in the class path; the language it
 * speaks on standard input and output is that of driver.py.
 */
public class JavaDriver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration LONG = Duration.ofSeconds(30);

    private final String bootstrap;
    private final Map<String, KafkaConsumer<String, String>> members = new HashMap<>();

    JavaDriver(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        JavaDriver driver = new JavaDriver(arguments[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                answer.set("ok", driver.answer(JSON.readTree(line)));
            } catch (Throwable error) {
                error.printStackTrace(System.err);
                answer.put("error", error.toString());
            }
            out.println(JSON.writeValueAsString(answer));
        }
        // Members that were not told to leave must not keep the process alive.
        System.exit(0);
    }

    private JsonNode answer(JsonNode request) throws Exception {
        return switch (request.get("op").asText()) {
            case "create_topic" -> createTopic(request);
            case "add_partitions" -> addPartitions(request);
            case "delete_topic" -> deleteTopic(request);
            case "list_topics" -> listTopics();
            case "describe_topic" -> describeTopic(request);
            case "topic_configs" -> topicConfigs(request);
            case "alter_topic_configs" -> alterTopicConfigs(request);
            case "delete_records" -> deleteRecords(request);
            case "list_groups" -> listGroups();
            case "describe_group" -> describeGroup(request);
            case "delete_group" -> deleteGroup(request);
            case "alter_offsets" -> alterOffsets(request);
            case "delete_offsets" -> deleteOffsets(request);
            case "produce" -> produce(request);
            case "transaction" -> transaction(request);
            case "consume" -> consume(request);
            case "join" -> join(request);
            case "poll" -> poll(request);
            case "commit" -> commit(request);
            case "leave" -> leave(request);
            case "committed" -> committed(request);
            default -> throw new IllegalArgumentException("no such operation: " + request.get("op"));
        };
    }

    // Topics

    private JsonNode createTopic(JsonNode request) throws Exception {
        NewTopic topic = new NewTopic(request.get("topic").asText(), request.path("partitions").asInt(1), (short) 1);
        Map<String, String> configs = new HashMap<>();
        request.path("configs").fields().forEachRemaining(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
        try (Admin admin = admin()) {
            done(admin.createTopics(List.of(topic.configs(configs))).all());
        }
        return JSON.nullNode();
    }

    private static <T> T done(KafkaFuture<T> asked) throws Exception {
        return asked.get(20, TimeUnit.SECONDS);
    }

    private JsonNode addPartitions(JsonNode request) throws Exception {
        NewPartitions total = NewPartitions.increaseTo(request.get("total").asInt());
        try (Admin admin = admin()) {
            done(admin.createPartitions(Map.of(request.get("topic").asText(), total)).all());
        }
        return JSON.nullNode();
    }

    private JsonNode deleteTopic(JsonNode request) throws Exception {
        try (Admin admin = admin()) {
            done(admin.deleteTopics(List.of(request.get("topic").asText())).all());
        }
        return JSON.nullNode();
    }

    private JsonNode listTopics() throws Exception {
        ArrayNode answer = JSON.createArrayNode();
        try (Admin admin = admin()) {
            done(admin.listTopics().names()).stream().sorted().forEach(answer::add);
        }
        return answer;
    }

    /** [leader, replicas] of each partition. */
    private JsonNode describeTopic(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        ArrayNode answer = JSON.createArrayNode();
        try (Admin admin = admin()) {
            TopicDescription found = done(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
            found.partitions().forEach(partition -> {
                ArrayNode replicas = answer.addArray().add(partition.leader().id()).addArray();
                partition.replicas().forEach(node -> replicas.add(node.id()));
            });
        }
        return answer;
    }

    private static ConfigResource configsOf(JsonNode request) {
        return new ConfigResource(ConfigResource.Type.TOPIC, request.get("topic").asText());
    }

    private JsonNode topicConfigs(JsonNode request) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        try (Admin admin = admin()) {
            Config found = done(admin.describeConfigs(List.of(configsOf(request))).all()).get(configsOf(request));
            found.entries().forEach(entry -> answer.put(entry.name(), entry.value()));
        }
        return answer;
    }

    /** Each change is [SET, DELETE, APPEND or SUBTRACT, name, value]. */
    private JsonNode alterTopicConfigs(JsonNode request) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        for (JsonNode change : request.get("changes")) {
            String value = change.get(2).isNull() ? null : change.get(2).asText();
            ConfigEntry entry = new ConfigEntry(change.get(1).asText(), value);
            changes.add(new AlterConfigOp(entry, AlterConfigOp.OpType.valueOf(change.get(0).asText())));
        }
        try (Admin admin = admin()) {
            done(admin.incrementalAlterConfigs(Map.of(configsOf(request), changes)).all());
        }
        return JSON.nullNode();
    }

    /** [[partition, offset]]: everything before that offset. */
    private JsonNode deleteRecords(JsonNode request) throws Exception {
        Map<TopicPartition, RecordsToDelete> wanted = new HashMap<>();
        for (JsonNode at : request.get("offsets")) {
            TopicPartition partition = new TopicPartition(request.get("topic").asText(), at.get(0).asInt());
            wanted.put(partition, RecordsToDelete.beforeOffset(at.get(1).asLong()));
        }
        try (Admin admin = admin()) {
            done(admin.deleteRecords(wanted).all());
        }
        return JSON.nullNode();
    }

    private Admin admin() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        return Admin.create(settings);
    }

    // Records

    private JsonNode produce(JsonNode request) throws Exception {
        Properties settings = producerSettings(request);
        settings.put("acks", request.path("acks").asText("all"));
        settings.put("enable.idempotence", request.path("idempotent").asBoolean(false));
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            return places(send(producer, request));
        }
    }

    private JsonNode transaction(JsonNode request) throws Exception {
        Properties settings = producerSettings(request);
        settings.put("transactional.id", request.get("transactional_id").asText());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings)) {
            producer.initTransactions();
            producer.beginTransaction();
            List<Future<RecordMetadata>> sent = send(producer, request);
            producer.flush();
            ArrayNode places = places(sent);
            if (request.hasNonNull("offsets")) {
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (JsonNode at : request.get("offsets").get("offsets")) {
                    offsets.put(
                            new TopicPartition(at.get("topic").asText(), at.get("partition").asInt()),
                            new OffsetAndMetadata(at.get("offset").asLong()));
                }
                String member = request.get("offsets").get("member").asText();
                producer.sendOffsetsToTransaction(offsets, members.get(member).groupMetadata());
            }
            if (request.get("end").asText().equals("commit")) {
                producer.commitTransaction();
            } else {
                producer.abortTransaction();
            }
            return places;
        }
    }

    private Properties producerSettings(JsonNode request) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        settings.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        settings.put("compression.type", request.path("codec").asText("none"));
        settings.put("linger.ms", "20");
        settings.put("max.request.size", "20000000");
        return settings;
    }

    private static List<Future<RecordMetadata>> send(KafkaProducer<String, String> producer, JsonNode request) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode record : request.get("records")) {
            List<Header> headers = new ArrayList<>();
            for (JsonNode header : record.path("headers")) {
                String value = header.get(1).textValue();
                headers.add(new RecordHeader(
                        header.get(0).asText(), value == null ? null : value.getBytes(StandardCharsets.UTF_8)));
            }
            sent.add(producer.send(new ProducerRecord<>(
                    request.get("topic").asText(),
                    record.hasNonNull("partition") ? record.get("partition").asInt() : null,
                    record.hasNonNull("timestamp") ? record.get("timestamp").asLong() : null,
                    record.path("key").textValue(),
                    record.path("value").textValue(),
                    headers)));
        }
        return sent;
    }

    private static ArrayNode places(List<Future<RecordMetadata>> sent) throws Exception {
        ArrayNode places = JSON.createArrayNode();
        for (Future<RecordMetadata> future : sent) {
            RecordMetadata at = future.get(30, TimeUnit.SECONDS);
            places.addArray().add(at.partition()).add(at.offset());
        }
        return places;
    }

    /** All records from the beginning to the end that this isolation level sees. */
    private JsonNode consume(JsonNode request) {
        Properties settings = consumerSettings(request);
        settings.put("auto.offset.reset", "none");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> partitions = consumer.partitionsFor(request.get("topic").asText(), LONG).stream()
                    .map(found -> new TopicPartition(found.topic(), found.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            // With read_committed this is the last stable offset.
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions, LONG);
            ArrayNode read = JSON.createArrayNode();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(request.path("timeout").asLong(30));
            while (partitions.stream().anyMatch(partition -> consumer.position(partition, LONG) < ends.get(partition))) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("not at the ends in time: " + ends);
                }
                consumer.poll(Duration.ofMillis(500)).forEach(record -> read.add(record(record)));
            }
            return read;
        }
    }

    private Properties consumerSettings(JsonNode request) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        settings.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        settings.put("isolation.level", request.path("isolation").asText("read_uncommitted"));
        settings.put("enable.auto.commit", "false");
        settings.put("check.crcs", "true");
        settings.put("max.partition.fetch.bytes", "20000000");
        return settings;
    }

    private static ObjectNode record(ConsumerRecord<String, String> record) {
        ObjectNode read = JSON.createObjectNode();
        read.put("partition", record.partition());
        read.put("offset", record.offset());
        read.put("key", record.key());
        read.put("value", record.value());
        ArrayNode headers = read.putArray("headers");
        for (Header header : record.headers()) {
            byte[] value = header.value();
            headers.addArray().add(header.key()).add(value == null ? null : new String(value, StandardCharsets.UTF_8));
        }
        read.put("timestamp", record.timestamp());
        return read;
    }

    // Groups

    private JsonNode join(JsonNode request) {
        Properties settings = consumerSettings(request);
        settings.put("auto.offset.reset", "earliest");
        settings.put("group.id", request.get("group").asText());
        if (request.path("protocol").asText("classic").equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            settings.put("session.timeout.ms", "10000");
            settings.put("heartbeat.interval.ms", "500");
            if (request.path("strategy").asText("range").equals("cooperative-sticky")) {
                settings.put(
                        "partition.assignment.strategy",
                        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            } else {
                settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
            }
        }
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings);
        if (request.hasNonNull("pattern")) {
            consumer.subscribe(new SubscriptionPattern(request.get("pattern").asText()));
        } else {
            consumer.subscribe(List.of(request.get("topic").asText()));
        }
        members.put(request.get("member").asText(), consumer);
        return JSON.nullNode();
    }

    /** What came within that time, and the partitions the member has. */
    private JsonNode poll(JsonNode request) {
        KafkaConsumer<String, String> consumer = members.get(request.get("member").asText());
        ObjectNode answer = JSON.createObjectNode();
        ArrayNode read = answer.putArray("records");
        long deadline = System.nanoTime() + (long) (request.path("seconds").asDouble(0.5) * 1e9);
        for (long left = deadline - System.nanoTime(); left > 0; left = deadline - System.nanoTime()) {
            consumer.poll(Duration.ofNanos(left)).forEach(record -> read.add(record(record)));
        }
        ArrayNode assignment = answer.putArray("assignment");
        consumer.assignment().stream().map(TopicPartition::partition).sorted().forEach(assignment::add);
        return answer;
    }

    /** Commits the positions, or the offsets given as [[partition, offset, metadata]]. */
    private JsonNode commit(JsonNode request) {
        KafkaConsumer<String, String> consumer = members.get(request.get("member").asText());
        if (!request.hasNonNull("offsets")) {
            consumer.commitSync(LONG);
            return JSON.nullNode();
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode at : request.get("offsets")) {
            offsets.put(
                    new TopicPartition(request.get("topic").asText(), at.get(0).asInt()),
                    new OffsetAndMetadata(at.get(1).asLong(), at.get(2).asText()));
        }
        consumer.commitSync(offsets, LONG);
        return JSON.nullNode();
    }

    private JsonNode leave(JsonNode request) {
        members.remove(request.get("member").asText()).close();
        return JSON.nullNode();
    }

    /** {partition: [offset, metadata]} */
    private JsonNode committed(JsonNode request) throws Exception {
        ObjectNode answer = JSON.createObjectNode();
        try (Admin admin = admin()) {
            admin.listConsumerGroupOffsets(request.get("group").asText())
                    .partitionsToOffsetAndMetadata()
                    .get(20, TimeUnit.SECONDS)
                    .forEach((partition, at) -> {
                        if (at != null && partition.topic().equals(request.get("topic").asText())) {
                            answer.putArray(Integer.toString(partition.partition()))
                                    .add(at.offset())
                                    .add(at.metadata());
                        }
                    });
        }
        return answer;
    }

    private JsonNode listGroups() throws Exception {
        ArrayNode answer = JSON.createArrayNode();
        try (Admin admin = admin()) {
            done(admin.listGroups().all()).stream().map(group -> group.groupId()).sorted().forEach(answer::add);
        }
        return answer;
    }

    /** [state, number of members] */
    private JsonNode describeGroup(JsonNode request) throws Exception {
        String group = request.get("group").asText();
        try (Admin admin = admin()) {
            ConsumerGroupDescription found = done(admin.describeConsumerGroups(List.of(group)).all()).get(group);
            String state = found.groupState().toString().toLowerCase();
            return JSON.createArrayNode().add(state).add(found.members().size());
        }
    }

    private JsonNode deleteGroup(JsonNode request) throws Exception {
        try (Admin admin = admin()) {
            done(admin.deleteConsumerGroups(List.of(request.get("group").asText())).all());
        }
        return JSON.nullNode();
    }

    /** [[partition, offset]] of a group without members. */
    private JsonNode alterOffsets(JsonNode request) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
        for (JsonNode at : request.get("offsets")) {
            TopicPartition partition = new TopicPartition(request.get("topic").asText(), at.get(0).asInt());
            wanted.put(partition, new OffsetAndMetadata(at.get(1).asLong()));
        }
        try (Admin admin = admin()) {
            done(admin.alterConsumerGroupOffsets(request.get("group").asText(), wanted).all());
        }
        return JSON.nullNode();
    }

    private JsonNode deleteOffsets(JsonNode request) throws Exception {
        Set<TopicPartition> wanted = new HashSet<>();
        for (JsonNode partition : request.get("partitions")) {
            wanted.add(new TopicPartition(request.get("topic").asText(), partition.asInt()));
        }
        try (Admin admin = admin()) {
            done(admin.deleteConsumerGroupOffsets(request.get("group").asText(), wanted).all());
        }
        return JSON.nullNode();
    }
}
