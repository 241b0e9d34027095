import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;

/**
 * Nexmark's queries in the DSL of Kafka Streams: `StreamsNexmark QUERY PREFIX OUTPUT [KEY=VALUE]...`, the options are
 * Kafka Streams' own; the topics read are PREFIX-bid, PREFIX-auction and PREFIX-person.
 */
public final class StreamsNexmark {
    /** How late an event may be: the delay of the watermark in the SQL of the others. */
    private static final Duration DELAY = Duration.ofSeconds(4);
    private static final Duration TEN_SECONDS = Duration.ofSeconds(10);
    private static final Duration TWO_SECONDS = Duration.ofSeconds(2);
    /** A join for ever has to be one within a time; events of one run are nearer than that. */
    private static final Duration FOR_EVER = Duration.ofHours(24);
    private static final BigDecimal EUROS = new BigDecimal("0.908");
    private static final DateTimeFormatter DAY = DateTimeFormatter.ofPattern("yyyy-MM-dd").withZone(ZoneOffset.UTC);

    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final Serde<JsonNode> JSON = Serdes.serdeFrom(
            (topic, node) -> node == null ? null : write(node), (topic, bytes) -> bytes == null ? null : read(bytes));
    private static final Serde<Long> LONG = Serdes.Long();
    private static final Serde<String> TEXT = Serdes.String();

    private final StreamsBuilder builder = new StreamsBuilder();
    private final String prefix;
    private final String output;

    private StreamsNexmark(String prefix, String output) {
        this.prefix = prefix;
        this.output = output;
    }

    public static void main(String[] arguments) throws InterruptedException {
        StreamsNexmark application = new StreamsNexmark(arguments[1], arguments[2]);
        application.query(arguments[0]);
        Properties properties = new Properties();
        for (String option : Arrays.asList(arguments).subList(3, arguments.length)) {
            String[] parts = option.split("=", 2);
            properties.setProperty(parts[0], parts[1]);
        }
        KafkaStreams streams = new KafkaStreams(application.builder.build(), properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        new CountDownLatch(1).await();
    }

    private void query(String name) {
        switch (name) {
            case "q0" -> append(bids().mapValues(bid -> pick(bid, "auction", "bidder", "price", "date_time", "extra")));
            case "q1" -> append(bids().mapValues(bid -> {
                ObjectNode row = pick(bid, "auction", "bidder", "price", "date_time", "extra");
                row.put("price", EUROS.multiply(BigDecimal.valueOf(bid.get("price").asLong())));
                return row;
            }));
            case "q2" -> append(bids()
                    .filter((key, bid) -> bid.get("auction").asLong() % 123 == 0)
                    .mapValues(bid -> pick(bid, "auction", "price", "date_time")));
            case "q5" -> mostBids();
            case "q7" -> highestBids();
            case "q8" -> newSellers();
            case "q11" -> sessions();
            case "q17" -> auctionDays();
            case "q18" -> lastBids();
            case "q20" -> bidsWithAuctions();
            default -> throw new IllegalArgumentException("no query " + name);
        }
    }

    /** Counts by auction and window, then those of each window that have the most, where all of a window come together. */
    private void mostBids() {
        KStream<Windowed<Long>, Long> counts = bids()
                .groupBy((key, bid) -> bid.get("auction").asLong(), Grouped.with(LONG, JSON))
                .windowedBy(TimeWindows.ofSizeAndGrace(TEN_SECONDS, DELAY).advanceBy(TWO_SECONDS))
                .count(Materialized.with(LONG, LONG))
                .suppress(untilClosed())
                .toStream();
        KStream<Long, JsonNode> byEnd = counts.process(AtWindowEnd::new);
        append(byEnd
                .groupByKey(Grouped.with(LONG, JSON))
                .windowedBy(TimeWindows.ofSizeAndGrace(TWO_SECONDS, DELAY))
                .aggregate(MAPPER::createArrayNode, (end, row, most) -> highest((ArrayNode) most, row, "num"),
                        Materialized.with(LONG, JSON))
                .suppress(untilClosed())
                .toStream()
                .flatMapValues(StreamsNexmark::elements));
    }

    /** Rather than EmitStrategy.onWindowClose(), which writes each change to state and changelog: this has a cache. */
    private static Suppressed<Windowed<?>> untilClosed() {
        return Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded());
    }

    /** A count gets the time of its window's end, so that all of a window are of one time. */
    private static final class AtWindowEnd extends ContextualProcessor<Windowed<Long>, Long, Long, JsonNode> {
        @Override
        public void process(Record<Windowed<Long>, Long> record) {
            long end = record.key().window().end();
            ObjectNode row = MAPPER.createObjectNode();
            row.put("auction", record.key().key()).put("num", record.value()).put("window_end", end);
            context().forward(new Record<>(end, (JsonNode) row, end));
        }
    }

    /** One key for all bids: the highest of all have to meet somewhere. */
    private void highestBids() {
        append(bids()
                .mapValues(bid -> (JsonNode) pick(bid, "auction", "bidder", "price", "date_time", "extra"))
                .groupBy((key, bid) -> 0L, Grouped.with(LONG, JSON))
                .windowedBy(TimeWindows.ofSizeAndGrace(TEN_SECONDS, DELAY))
                .aggregate(MAPPER::createArrayNode, (key, bid, most) -> highest((ArrayNode) most, bid, "price"),
                        Materialized.with(LONG, JSON))
                .suppress(untilClosed())
                .toStream()
                .flatMap((window, most) -> {
                    List<KeyValue<Long, JsonNode>> rows = new ArrayList<>();
                    for (JsonNode row : most) {
                        rows.add(KeyValue.pair(window.key(), ((ObjectNode) row).put("window_end", window.window().end())));
                    }
                    return rows;
                }));
    }

    /** Persons and auctions meet by person and window; what has both when the window closes is given. */
    private void newSellers() {
        KGroupedStream<Long, JsonNode> persons =
                persons().groupBy((key, person) -> person.get("id").asLong(), Grouped.with("persons", LONG, JSON));
        KGroupedStream<Long, JsonNode> auctions =
                auctions().groupBy((key, auction) -> auction.get("seller").asLong(), Grouped.with("auctions", LONG, JSON));
        append(persons
                .<JsonNode>cogroup((id, person, both) -> ((ObjectNode) both).set("name", person.get("name")))
                .cogroup(auctions, (id, auction, both) -> ((ObjectNode) both).put("sells", true))
                .windowedBy(TimeWindows.ofSizeAndGrace(TEN_SECONDS, DELAY))
                .aggregate(MAPPER::createObjectNode, Materialized.with(LONG, JSON))
                .suppress(untilClosed())
                .toStream()
                .filter((window, both) -> both.has("name") && both.has("sells"))
                .map((window, both) -> {
                    ObjectNode row = MAPPER.createObjectNode();
                    row.put("id", window.key()).set("name", both.get("name"));
                    row.put("start_time", window.window().start()).put("window_end", window.window().end());
                    return KeyValue.pair(window.key(), (JsonNode) row);
                }));
    }

    private void sessions() {
        append(bids()
                .groupBy((key, bid) -> bid.get("bidder").asLong(), Grouped.with(LONG, JSON))
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(TEN_SECONDS, DELAY))
                .count(Materialized.with(LONG, LONG))
                .suppress(untilClosed())
                .toStream()
                .map((session, count) -> {
                    ObjectNode row = MAPPER.createObjectNode();
                    row.put("bidder", session.key()).put("bid_count", count);
                    row.put("start_time", session.window().start());
                    // A session of Kafka Streams ends with its last event.
                    row.put("window_end", session.window().end() + TEN_SECONDS.toMillis());
                    return KeyValue.pair(session.key(), (JsonNode) row);
                }));
    }

    private void auctionDays() {
        bids()
                .groupBy((key, bid) -> bid.get("auction").asLong() + " " + day(bid), Grouped.with(TEXT, JSON))
                .aggregate(MAPPER::createObjectNode, (key, bid, row) -> added((ObjectNode) row, bid),
                        Materialized.with(TEXT, JSON))
                .toStream()
                .to(output, Produced.with(TEXT, JSON));
    }

    private static JsonNode added(ObjectNode row, JsonNode bid) {
        long price = bid.get("price").asLong();
        long count = row.path("total_bids").asLong() + 1;
        long sum = row.path("sum_price").asLong() + price;
        String rank = price < 10_000 ? "rank1_bids" : price < 1_000_000 ? "rank2_bids" : "rank3_bids";
        if (count == 1) {
            row.set("auction", bid.get("auction"));
            row.put("day", day(bid)).put("rank1_bids", 0L).put("rank2_bids", 0L).put("rank3_bids", 0L);
        }
        row.put("total_bids", count).put(rank, row.get(rank).asLong() + 1);
        row.put("min_price", Math.min(row.path("min_price").asLong(Long.MAX_VALUE), price));
        row.put("max_price", Math.max(row.path("max_price").asLong(), price));
        row.put("avg_price", (double) sum / count).put("sum_price", sum);
        row.put("date_time", Math.max(row.path("date_time").asLong(), bid.get("date_time").asLong()));
        return row;
    }

    private static String day(JsonNode bid) {
        return DAY.format(Instant.ofEpochMilli(bid.get("date_time").asLong()));
    }

    private void lastBids() {
        bids()
                .groupBy((key, bid) -> bid.get("bidder").asLong() + " " + bid.get("auction").asLong(),
                        Grouped.with(TEXT, JSON))
                .reduce((last, bid) -> bid.get("date_time").asLong() >= last.get("date_time").asLong() ? bid : last,
                        Materialized.with(TEXT, JSON))
                .toStream()
                .to(output, Produced.with(TEXT, JSON));
    }

    /** Both sides are streams: a bid may come before its auction. */
    private void bidsWithAuctions() {
        KStream<Long, JsonNode> auctions = auctions()
                .filter((key, auction) -> auction.get("category").asLong() == 10)
                .selectKey((key, auction) -> auction.get("id").asLong());
        append(bids()
                .selectKey((key, bid) -> bid.get("auction").asLong())
                .join(auctions, StreamsNexmark::both, JoinWindows.ofTimeDifferenceWithNoGrace(FOR_EVER),
                        StreamJoined.with(LONG, JSON, JSON)));
    }

    private static JsonNode both(JsonNode bid, JsonNode auction) {
        ObjectNode row = pick(bid, "auction", "bidder", "price", "channel", "url");
        row.set("bid_date_time", bid.get("date_time"));
        row.set("bid_extra", bid.get("extra"));
        for (String field : List.of("item_name", "description", "initial_bid", "reserve")) {
            row.set(field, auction.get(field));
        }
        row.set("auction_date_time", auction.get("date_time"));
        for (String field : List.of("expires", "seller", "category")) {
            row.set(field, auction.get(field));
        }
        row.set("auction_extra", auction.get("extra"));
        return row;
    }

    /** The rows with the most of that field. */
    private static JsonNode highest(ArrayNode most, JsonNode row, String field) {
        long value = row.get(field).asLong();
        long before = most.isEmpty() ? Long.MIN_VALUE : most.get(0).get(field).asLong();
        if (value > before) {
            most.removeAll();
        }
        return value >= before ? most.add(row) : most;
    }

    private static List<JsonNode> elements(JsonNode array) {
        List<JsonNode> elements = new ArrayList<>();
        array.forEach(elements::add);
        return elements;
    }

    private static ObjectNode pick(JsonNode from, String... fields) {
        ObjectNode row = MAPPER.createObjectNode();
        for (String field : fields) {
            row.set(field, from.get(field));
        }
        return row;
    }

    private <K> void append(KStream<K, ? extends JsonNode> rows) {
        rows.map((key, row) -> KeyValue.pair((byte[]) null, (JsonNode) row))
                .to(output, Produced.with(Serdes.ByteArray(), JSON));
    }

    private KStream<byte[], JsonNode> bids() {
        return source("bid");
    }

    private KStream<byte[], JsonNode> auctions() {
        return source("auction");
    }

    private KStream<byte[], JsonNode> persons() {
        return source("person");
    }

    private KStream<byte[], JsonNode> source(String table) {
        return builder.stream(prefix + "-" + table, Consumed.with(Serdes.ByteArray(), JSON).withTimestampExtractor(
                (record, partitionTime) -> ((JsonNode) record.value()).get("date_time").asLong()));
    }

    private static byte[] write(JsonNode node) {
        try {
            return MAPPER.writeValueAsBytes(node);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static JsonNode read(byte[] bytes) {
        try {
            return MAPPER.readTree(bytes);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
