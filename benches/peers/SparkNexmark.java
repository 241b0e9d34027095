import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.from_json;
import static org.apache.spark.sql.functions.struct;
import static org.apache.spark.sql.functions.timestamp_millis;
import static org.apache.spark.sql.functions.to_json;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.SourceProgress;
import org.apache.spark.sql.streaming.StreamingQueryListener;
import org.apache.spark.sql.types.StructType;

/**
 * Runs a query on Spark's Structured Streaming within this process: `SparkNexmark SCRIPT [KEY=VALUE]...`. The script is one
 * SELECT. Options that begin with "spark." are Spark's own; the others are
 *
 * <pre>
 * table.NAME.topic, table.NAME.columns   a table that is read, its columns as Spark's DDL; date_time is a number of ms there
 * delay                                  of the watermarks, such as "4 seconds"
 * broker, group                          the group gets the offsets of the batches that are done
 * batch                                  records that a batch takes of a table at most
 * output, mode, key                      the topic, append or update, and columns of the key, if there is one: "a,b"
 * checkpoints                            a directory
 * </pre>
 *
 * Spark's sink is at least once: it has no transactions.
 */
public final class SparkNexmark {
    private final Properties options = new Properties();
    private final SparkSession spark;

    private SparkNexmark(List<String> arguments) {
        SparkConf configuration = new SparkConf();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            if (parts[0].startsWith("spark.")) {
                configuration.set(parts[0], parts[1]);
            } else {
                options.setProperty(parts[0], parts[1]);
            }
        }
        spark = SparkSession.builder().config(configuration).getOrCreate();
        spark.sparkContext().setLogLevel("ERROR");
    }

    public static void main(String[] arguments) throws Exception {
        String script = Files.readString(Path.of(arguments[0]));
        new SparkNexmark(Arrays.asList(arguments).subList(1, arguments.length)).run(script);
    }

    private void run(String script) throws Exception {
        for (String option : options.stringPropertyNames()) {
            if (option.startsWith("table.") && option.endsWith(".topic")) {
                read(option.substring("table.".length(), option.length() - ".topic".length()));
            }
        }
        spark.streams().addListener(new Committing(options.getProperty("broker"), options.getProperty("group")));
        List<Column> columns = new ArrayList<>();
        if (options.containsKey("key")) {
            columns.add(to_json(struct(columns(options.getProperty("key")))).as("key"));
        }
        columns.add(to_json(struct(col("*"))).as("value"));
        spark.sql(script)
                .select(columns.toArray(Column[]::new))
                .writeStream()
                .format("kafka")
                .option("kafka.bootstrap.servers", options.getProperty("broker"))
                .option("topic", options.getProperty("output"))
                .option("checkpointLocation", options.getProperty("checkpoints"))
                .outputMode(options.getProperty("mode"))
                .start()
                .awaitTermination();
    }

    private void read(String table) {
        Dataset<Row> records = spark.readStream()
                .format("kafka")
                .option("kafka.bootstrap.servers", options.getProperty("broker"))
                .option("subscribe", options.getProperty("table." + table + ".topic"))
                .option("startingOffsets", "earliest")
                .option("maxOffsetsPerTrigger", options.getProperty("batch"))
                .load();
        StructType columns = StructType.fromDDL(options.getProperty("table." + table + ".columns"));
        records.select(from_json(col("value").cast("string"), columns).as("row"))
                .select("row.*")
                .withColumn("date_time", timestamp_millis(col("date_time")))
                .withWatermark("date_time", options.getProperty("delay"))
                .createOrReplaceTempView(table);
    }

    private static Column[] columns(String names) {
        return Arrays.stream(names.split(",")).map(name -> col(name.trim())).toArray(Column[]::new);
    }

    /** Spark keeps its offsets in its checkpoint; here a consumer group gets them too, so that others see how far it is. */
    private static final class Committing extends StreamingQueryListener {
        private final ObjectMapper mapper = new ObjectMapper();
        private final Admin admin;
        private final String group;

        Committing(String broker, String group) {
            this.admin = Admin.create(Map.of("bootstrap.servers", broker));
            this.group = group;
        }

        @Override
        public void onQueryStarted(QueryStartedEvent event) {}

        @Override
        public void onQueryTerminated(QueryTerminatedEvent event) {}

        @Override
        public void onQueryProgress(QueryProgressEvent event) {
            try {
                Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
                for (SourceProgress source : event.progress().sources()) {
                    add(mapper.readTree(source.endOffset()), ends);
                }
                if (!ends.isEmpty()) {
                    admin.alterConsumerGroupOffsets(group, ends).all().get();
                }
            } catch (IOException | InterruptedException | ExecutionException error) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        }

        /** A table that a query reads twice is done with as far as both have come. */
        private static void add(JsonNode topics, Map<TopicPartition, OffsetAndMetadata> ends) {
            topics.fields().forEachRemaining(topic -> topic.getValue().fields().forEachRemaining(partition -> {
                TopicPartition place = new TopicPartition(topic.getKey(), Integer.parseInt(partition.getKey()));
                OffsetAndMetadata end = new OffsetAndMetadata(partition.getValue().asLong());
                ends.merge(place, end, (one, other) -> one.offset() <= other.offset() ? one : other);
            }));
        }
    }
}
