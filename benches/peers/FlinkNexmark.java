import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs a SQL script on Flink within this process: `FlinkNexmark SCRIPT [KEY=VALUE]...`, the options are Flink's own.
 * Statements end with a semicolon at the end of a line; the last one is the INSERT, whose job runs until it is killed.
 */
public final class FlinkNexmark {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        for (String option : Arrays.asList(arguments).subList(1, arguments.length)) {
            String[] parts = option.split("=", 2);
            configuration.setString(parts[0], parts[1]);
        }
        TableEnvironment tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        String[] statements = Files.readString(Path.of(arguments[0])).split(";\\s*\n");
        for (int at = 0; at < statements.length - 1; at++) {
            tables.executeSql(statements[at]);
        }
        tables.executeSql(statements[statements.length - 1]).await();
    }
}
